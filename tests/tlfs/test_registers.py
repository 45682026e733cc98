import pytest

from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.tlfs.registers import RegisterName, register_size, register_text


@pytest.mark.parametrize(
    ("number", "name", "size"),
    [
        (0x00020000, "RAX", 8),
        (0x00020010, "RIP", 8),
        (0x00030005, "XMM5", 16),
        (0x00040004, "CR8", 8),
        (0x00060007, "TR", 16),
        (0x00070001, "GDTR", 16),
        (0x00080001, "EFER", 8),
        (0x0008007A, "MTRR_FIX_4K_F8000", 8),
        (0x0008007B, "TSC_AUX", 8),
        (0x00090003, "VP_INDEX", 8),
        (0x000A0014, "EOM", 8),
        (0x000B0007, "STIMER3_COUNT", 8),
        (0x000D0010, "VSM_VP_SECURE_CONFIG_VTL0", 8),
        (0x000E0000, "CR_INTERCEPT_CONTROL", 8),
        (0x00010004, "PENDING_EVENT0", 16),
        (0x00000200, "PRIVILEGES_AND_FEATURES_INFO", 16),
    ],
)
def test_names_and_sizes(number: int, name: str, size: int) -> None:
    assert RegisterName(number).name == name
    assert register_text(number) == name
    assert register_size(number) == size


def test_a_number_without_name() -> None:
    assert register_text(0x12345678) == "0x12345678"


def test_sints_and_timers_have_the_msrs_names() -> None:
    for offset in range(16):
        assert RegisterName(0xA0000 + offset).name == SyntheticMsr(0x40000090 + offset).name
    for offset in range(8):
        assert RegisterName(0xB0000 + offset).name == SyntheticMsr(0x400000B0 + offset).name
