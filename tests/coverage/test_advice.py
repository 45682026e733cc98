from tests.coverage.guest import covered
from tests.guests.assembly import call, catch, read_msr, start_others, write_msr
from tests.guests.layout import INPUT

from hypercall.coverage.advice import advice_on
from hypercall.coverage.coverage import Coverage


def advice(text: str, cpus: int = 1, **configuration: object) -> dict[str, str]:
    return {each.about: each.text for each in advice_on(covered(text, cpus, **configuration))}


def test_nothing_seen_gives_no_advice() -> None:
    assert advice_on(Coverage()) == []


def test_an_msr_that_faults_names_what_it_needs() -> None:
    text = catch("no", read_msr(0x40000080))
    given = advice(text, privileges="-AccessSynicRegs")
    assert given["SCONTROL"].startswith(
        "Once an access to this MSR raised #GP: it needs ACCESS_SYN"
    )
    assert "no such MSR is known" in advice(catch("no", read_msr(0x40000119)))["0x40000119"]


def test_calls_that_are_all_refused() -> None:
    given = advice(call(0x1005D, 9, 0))
    assert given["HvCallSignalEvent"].startswith("The only call was refused")
    given = advice(f"{call(0x1005D, 9, 0)}\n{call(0x1005D, 9, 0)}")
    assert given["HvCallSignalEvent"].startswith("All 2 calls were refused")


def test_leaves_that_are_not_read() -> None:
    assert {"CPUID 0x40000003", "CPUID 0x40000004"} <= set(advice(read_msr(0x40000002)))
    read = "mov eax, 0x40000003\ncpuid\nmov eax, 0x40000004\ncpuid"
    assert not {"CPUID 0x40000003", "CPUID 0x40000004"} & set(advice(read))


def test_time_by_exits_instead_of_the_page() -> None:
    given = advice(f"{read_msr(0x40000020)}\n{read_msr(0x40000020)}")
    assert "it read TIME_REF_COUNT 2 times" in given["ACCESS_PARTITION_REFERENCE_TSC"]
    assert "ACCESS_PARTITION_REFERENCE_TSC" not in advice(write_msr(0x40000021, 0x5001))


def test_recommended_calls_matter_with_several_processors() -> None:
    name = "SYNTHETIC_CLUSTER_IPI"
    assert name not in advice("nop")
    assert name in advice(start_others(1), cpus=2)
    assert name not in advice(f"{start_others(1)}\n{call(0x1000B, 0xFB, 0)}", cpus=2)
    assert name not in advice(start_others(1), cpus=2, privileges="-SyntheticClusterIpi")


def test_timers_that_send_messages() -> None:
    given = advice(write_msr(0x400000B0, 2 << 16 | 1))
    assert "direct mode is offered" in given["DIRECT_SYNTHETIC_TIMERS"]
    assert "DIRECT_SYNTHETIC_TIMERS" not in advice(write_msr(0x400000B0, 1 << 12 | 0x30 << 4 | 1))


def test_use_of_what_is_not_offered() -> None:
    given = advice(call(0x1000B, 0xFB, 0), privileges="-SyntheticClusterIpi")
    assert "is not offered, and the guest uses it" in given["SYNTHETIC_CLUSTER_IPI"]


def test_the_slow_form_of_many_calls() -> None:
    sends = "\n".join(call(0x0B, INPUT) for _ in range(16))
    name = "XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT"
    assert "16 calls give input in memory" in advice(sends)[name]
    assert name not in advice(call(0x0B, INPUT))


def test_automatic_ends_of_interrupts() -> None:
    given = advice(write_msr(0x40000092, 0xF3 | 1 << 17))
    assert given["DEPRECATE_AUTO_EOI"].startswith("Once a SINT is set up with AutoEOI")


def test_spin_waits_of_one_processor() -> None:
    assert "HvCallNotifyLongSpinWait" in advice(call(0x10008, 5, 0))
