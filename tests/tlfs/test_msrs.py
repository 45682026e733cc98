import pytest

from hypercall.tlfs.msrs import MSR_DECLARATIONS, MsrAccess, SyntheticMsr, msr_name
from hypercall.tlfs.privileges import Feature, Privilege


def test_every_msr_is_declared() -> None:
    assert set(MSR_DECLARATIONS) == {int(msr) for msr in SyntheticMsr}


@pytest.mark.parametrize(
    ("msr", "access", "privilege"),
    [
        (SyntheticMsr.GUEST_OS_ID, MsrAccess.READ_WRITE, Privilege.ACCESS_HYPERCALL_MSRS),
        (SyntheticMsr.VP_INDEX, MsrAccess.READ_ONLY, Privilege.ACCESS_VP_INDEX),
        (SyntheticMsr.EOI, MsrAccess.WRITE_ONLY, Privilege.ACCESS_INTR_CTRL_REGS),
        (SyntheticMsr.SVERSION, MsrAccess.READ_ONLY, Privilege.ACCESS_SYNIC_REGS),
        (SyntheticMsr.SINT15, MsrAccess.READ_WRITE, Privilege.ACCESS_SYNIC_REGS),
        (SyntheticMsr.STIMER3_COUNT, MsrAccess.READ_WRITE, Privilege.ACCESS_SYNTHETIC_TIMER_REGS),
        (SyntheticMsr.TSC_FREQUENCY, MsrAccess.READ_ONLY, Privilege.ACCESS_FREQUENCY_REGS),
    ],
)
def test_access_and_privilege(msr: SyntheticMsr, access: MsrAccess, privilege: Privilege) -> None:
    declaration = MSR_DECLARATIONS[msr]
    assert (declaration.access, declaration.privilege) == (access, privilege)


def test_crash_msrs_need_their_feature() -> None:
    assert MSR_DECLARATIONS[0x40000105].feature == Feature.GUEST_CRASH_MSRS


def test_private_state_of_a_vtl() -> None:
    shared = {name for name in SyntheticMsr if not MSR_DECLARATIONS[name].per_vtl}
    assert {SyntheticMsr.VP_INDEX, SyntheticMsr.VP_RUNTIME, SyntheticMsr.RESET} <= shared
    assert SyntheticMsr.SIMP not in shared
    assert SyntheticMsr.HYPERCALL not in shared


def test_names() -> None:
    assert msr_name(0x40000073) == "VP_ASSIST_PAGE"
    assert msr_name(0x40000074) == "0x40000074"
