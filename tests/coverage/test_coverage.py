import pytest
from tests.coverage.guest import covered
from tests.guests.assembly import call, catch, read_msr, write_apic, write_msr
from tests.guests.layout import INPUT

from hypercall.coverage.coverage import Coverage, Verdict, needs
from hypercall.tlfs.calls import Call
from hypercall.trace.description import RunDescription
from hypercall.trace.events import CpuidEvent, MachineEvent, MsrEvent, Position

AT = Position(0, 0, 0, 0x1000)
READ_FEATURES = "mov eax, 0x40000003\ncpuid"


def test_what_a_guest_reads_and_uses() -> None:
    text = f"{READ_FEATURES}\n{READ_FEATURES}\n{read_msr(0x40000002)}\n{call(0x1000B, 0xFB, 0)}"
    coverage = covered(text)
    index = coverage.row("ACCESS_VP_INDEX")
    assert (index.offered, index.read, index.used, index.refused) == (True, 2, 1, 0)
    assert (index.by, index.verdict) == ((("VP_INDEX", 1),), Verdict.USED)
    ipi = coverage.row("SYNTHETIC_CLUSTER_IPI")
    assert (ipi.read, ipi.used, ipi.verdict) == (0, 1, Verdict.USED)
    assert ipi.by == (("HvCallSendSyntheticClusterIpi", 1),)
    assert coverage.row("ACCESS_SYNIC_REGS").verdict is Verdict.NOT_USED
    assert coverage.row("MSRS_FOR_APIC_ACCESS").verdict is Verdict.NOT_READ
    assert coverage.row("RELAXED_TIMING").verdict is Verdict.NOT_VISIBLE
    assert coverage.row("ACCESS_STATS").verdict is Verdict.NOT_OFFERED
    (site,) = coverage.calls[Call.SEND_SYNTHETIC_CLUSTER_IPI].sites
    assert site > 0x100000


def test_what_is_refused_is_no_use() -> None:
    text = f"{catch('no', read_msr(0x40000080))}\n{call(0x1005D, 9, 0)}"
    coverage = covered(text, privileges="-AccessSynicRegs,-SignalEvents")
    synic = coverage.row("ACCESS_SYNIC_REGS")
    assert (synic.offered, synic.used, synic.refused) == (False, 0, 1)
    assert synic.verdict is Verdict.REFUSED
    assert coverage.row("SIGNAL_EVENTS").verdict is Verdict.REFUSED
    assert coverage.msrs[0x40000080].refused == 1


def test_what_is_used_without_being_offered() -> None:
    coverage = covered(call(0x1000B, 0xFB, 0), privileges="-SyntheticClusterIpi")
    row = coverage.row("SYNTHETIC_CLUSTER_IPI")
    assert (row.offered, row.verdict) == (False, Verdict.USED_WITHOUT_OFFER)


def test_pages_that_are_enabled() -> None:
    coverage = covered(f"{write_msr(0x40000021, 0x5001)}\n{write_msr(0x40000073, 0x6000)}")
    assert coverage.pages == {0x40000001: 1, 0x40000021: 1}
    assert coverage.msrs[0x40000021].writes == 1


def test_extended_capabilities_are_read_by_a_call() -> None:
    coverage = covered(call(0x8001, 0, INPUT))
    row = coverage.row("MEMORY_HEAT_HINT")
    assert (row.enlightenment.leaf, row.read, row.verdict) == (None, 1, Verdict.NOT_USED)
    assert coverage.row("ENABLE_EXTENDED_HYPERCALLS").verdict is Verdict.USED


def test_interrupt_controllers_own_registers_are_no_use_of_msrs() -> None:
    coverage = covered(write_apic(0x80, 0))
    assert coverage.row("MSRS_FOR_APIC_ACCESS").used == 0


def test_without_a_description_the_words_are_learnt_from_cpuid() -> None:
    coverage = Coverage()
    assert coverage.row("ACCESS_VP_INDEX").offered is None
    coverage.add(CpuidEvent(AT, 0x40000003, 0, (1 << 6, 1 << 16, 0, 1 << 19)))
    coverage.add(CpuidEvent(AT, 0x40000004, 0, (1 << 10, 0, 0, 0)))
    offered = {row.enlightenment.name for row in coverage.rows() if row.offered}
    assert offered == {
        "ACCESS_VP_INDEX",
        "ACCESS_VSM",
        "DIRECT_SYNTHETIC_TIMERS",
        "SYNTHETIC_CLUSTER_IPI",
    }


def test_a_description_is_believed_more_than_cpuid() -> None:
    coverage = Coverage(RunDescription(privileges=1 << 6))
    coverage.add(CpuidEvent(AT, 0x40000003, 0, (0, 0, 0, 0)))
    assert coverage.row("ACCESS_VP_INDEX").offered is True
    assert coverage.row("FLUSH_GUEST_PHYSICAL_ADDRESS").offered is False


def test_other_events_and_msrs_count_nothing() -> None:
    coverage = Coverage()
    coverage.add(MachineEvent(AT, "reset", "the guest reset itself"))
    coverage.add(MsrEvent(AT, 0x1B, 0, False))
    assert (coverage.msrs, coverage.calls) == ({}, {})


def test_nothing_grows_without_end() -> None:
    coverage = Coverage()
    for number in range(10_000):
        coverage.add(CpuidEvent(Position(0, 0, 0, number), number, 0, (0, 0, 0, 0)))
        coverage.add(CpuidEvent(Position(0, 0, 0, number), 0, 0, (0, 0, 0, 0)))
    assert len(coverage.leaves) == 4096
    assert len(coverage.leaves[0].sites) == 4096
    assert coverage.leaves[0].count == 10_001


def test_a_name_without_meaning_is_refused() -> None:
    with pytest.raises(KeyError):
        Coverage().row("WARP_DRIVE")


def test_what_an_msr_needs() -> None:
    assert needs(0x40000080) == "ACCESS_SYNIC_REGS"
    assert needs(0x40000022) == "ACCESS_FREQUENCY_REGS, TIMER_FREQUENCIES"
    assert needs(0x1B) == ""
