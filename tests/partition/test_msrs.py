from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.partition.configuration import (
    DEFAULT_FEATURES,
    DEFAULT_PRIVILEGES,
    PartitionConfiguration,
)
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.tlfs.msrs import MSR_DECLARATIONS, MsrAccess, SyntheticMsr
from hypercall.tlfs.privileges import Feature, Privilege

MakePartition = Callable[..., StandalonePartition]


class Cpu:
    """RDMSR and WRMSR on one virtual processor."""

    def __init__(self, box: StandalonePartition, index: int = 0) -> None:
        self.box = box
        self.vp = box.partition.by_index[index]

    def read(self, index: int) -> int:
        return self.box.partition.msrs.read(self.vp, index)

    def write(self, index: int, value: int) -> None:
        self.box.partition.msrs.write(self.vp, index, value)


@pytest.fixture
def cpu(make_partition: MakePartition) -> Cpu:
    return Cpu(make_partition(2))


IMPLEMENTED = sorted(
    set(MSR_DECLARATIONS)
    - {
        *range(SyntheticMsr.SYNDBG_CONTROL, SyntheticMsr.SYNDBG_PENDING_BUFFER + 1),
        SyntheticMsr.DEBUG_DEVICE_OPTIONS,
        SyntheticMsr.NPIEP_CONFIG,
        SyntheticMsr.STIME_UNHALTED_TIMER_CONFIG,
        SyntheticMsr.STIME_UNHALTED_TIMER_COUNT,
    }
)


@pytest.mark.parametrize("index", IMPLEMENTED, ids=lambda index: SyntheticMsr(index).name)
def test_every_msr_obeys_its_access_and_its_privilege(
    make_partition: MakePartition, index: int
) -> None:
    declaration = MSR_DECLARATIONS[index]
    allowed = Cpu(make_partition(1))
    if declaration.access is not MsrAccess.WRITE_ONLY:
        allowed.read(index)
    else:
        with pytest.raises(GeneralProtection):
            allowed.read(index)
    if declaration.access is MsrAccess.READ_ONLY:
        with pytest.raises(GeneralProtection):
            allowed.write(index, 0)
    denied = Cpu(
        make_partition(
            1,
            privileges=Privilege(DEFAULT_PRIVILEGES & ~declaration.privilege),
            features=Feature(DEFAULT_FEATURES & ~declaration.feature),
        )
    )
    with pytest.raises(GeneralProtection):
        denied.read(index)
    with pytest.raises(GeneralProtection):
        denied.write(index, 0)
    assert not denied.box.partition.msrs.knows(index)


@pytest.mark.parametrize("index", [0x40000004, 0x400000A0, 0x400000FE, 0x40001002, 0x12345, 0xFE])
def test_an_unknown_msr_is_a_fault(cpu: Cpu, index: int) -> None:
    with pytest.raises(GeneralProtection):
        cpu.read(index)
    with pytest.raises(GeneralProtection):
        cpu.write(index, 0)


def test_identity_and_time(cpu: Cpu) -> None:
    cpu.box.advance(12_345)
    assert Cpu(cpu.box, 1).read(SyntheticMsr.VP_INDEX) == 1
    assert cpu.read(SyntheticMsr.TIME_REF_COUNT) == 123
    assert cpu.read(SyntheticMsr.VP_RUNTIME) == 123
    assert cpu.read(SyntheticMsr.TSC_FREQUENCY) == 1_000_000_000
    assert cpu.read(SyntheticMsr.APIC_FREQUENCY) == 200_000_000
    assert cpu.read(SyntheticMsr.SVERSION) == 1
    assert cpu.read(SyntheticMsr.EOM) == 0


def test_the_reference_tsc_page_agrees_with_the_counter(cpu: Cpu) -> None:
    cpu.write(SyntheticMsr.REFERENCE_TSC, 0x5001)
    memory = cpu.box.partition.memory
    assert memory.read_u32(0x5000) == 1
    scale, offset = memory.read_u64(0x5008), memory.read_u64(0x5010)
    for time in (0, 999, 1_000, 10**15 + 777):
        cpu.box.time.nanoseconds = time
        tsc = cpu.read(0x10)
        # The scale is rounded down, so that the product can be one unit late.
        assert cpu.read(SyntheticMsr.TIME_REF_COUNT) - ((tsc * scale >> 64) + offset) in (0, 1)


def test_the_tsc_is_adjusted_per_processor(cpu: Cpu) -> None:
    cpu.box.advance(1_000)
    cpu.write(0x10, 0)
    assert cpu.read(0x10) == 0
    assert cpu.read(0x3B) == (1 << 64) - 1_000
    assert Cpu(cpu.box, 1).read(0x10) == 1_000
    cpu.write(0x3B, 500)
    assert cpu.read(0x10) == 1_500
    assert cpu.box.effects.named("tsc_offset_changed") == [(cpu.vp, 0)] * 2


def test_apic_registers_by_msr(cpu: Cpu) -> None:
    other = Cpu(cpu.box, 1)
    other.vp.current.apic.write_mmio(0xF0, 0x1FF)
    cpu.write(SyntheticMsr.ICR, 1 << 56 | 0x41)
    assert cpu.read(SyntheticMsr.ICR) == 1 << 56 | 0x41
    other.write(SyntheticMsr.TPR, 0x50)
    assert other.read(SyntheticMsr.TPR) == 0x50
    assert other.vp.pending_vector() is None
    other.write(SyntheticMsr.TPR, 0)
    assert other.vp.current.apic.acknowledge() == 0x41
    other.write(SyntheticMsr.EOI, 0)
    assert other.vp.current.apic.isr == 0
    assert cpu.read(0x1B) == 0xFEE00900
    assert other.read(0x1B) == 0xFEE00800


def test_guest_idle_rests_until_an_interrupt(cpu: Cpu) -> None:
    assert cpu.read(SyntheticMsr.GUEST_IDLE) == 0
    assert cpu.box.effects.named("idle") == [(cpu.vp,)]


def test_reset_is_asked_for_by_bit_0(cpu: Cpu) -> None:
    cpu.write(SyntheticMsr.RESET, 2)
    assert cpu.box.effects.named("reset") == []
    cpu.write(SyntheticMsr.RESET, 1)
    assert cpu.box.effects.named("reset") == [()]


class TestCrash:
    def test_the_parameters_are_reported(self, cpu: Cpu) -> None:
        for number in range(5):
            cpu.write(SyntheticMsr.CRASH_P0 + number, number + 10)
            assert cpu.read(SyntheticMsr.CRASH_P0 + number) == number + 10
        cpu.write(SyntheticMsr.CRASH_CTL, 0)
        assert cpu.box.effects.named("crash") == []
        cpu.write(SyntheticMsr.CRASH_CTL, 1 << 63)
        assert cpu.box.effects.named("crash") == [((10, 11, 12, 13, 14), None)]
        assert cpu.read(SyntheticMsr.CRASH_CTL) == 3 << 62

    def test_a_message_is_read_from_memory(self, cpu: Cpu) -> None:
        cpu.box.partition.memory.write(0x3000, b"Oops")
        cpu.write(SyntheticMsr.CRASH_P3, 0x3000)
        cpu.write(SyntheticMsr.CRASH_P4, 4)
        cpu.write(SyntheticMsr.CRASH_CTL, 3 << 62)
        assert cpu.box.effects.named("crash")[0][1] == b"Oops"

    def test_a_message_that_is_not_there_is_none(self, cpu: Cpu) -> None:
        cpu.write(SyntheticMsr.CRASH_P3, 1 << 40)
        cpu.write(SyntheticMsr.CRASH_P4, (1 << 64) - 1)
        cpu.write(SyntheticMsr.CRASH_CTL, 3 << 62)
        assert cpu.box.effects.named("crash")[0][1] is None


def test_reenlightenment_and_tsc_invariant_control(cpu: Cpu) -> None:
    cpu.write(SyntheticMsr.REENLIGHTENMENT_CONTROL, 0x1_0000_00EE)
    assert cpu.read(SyntheticMsr.REENLIGHTENMENT_CONTROL) == 0x1_0000_00EE
    cpu.write(SyntheticMsr.TSC_EMULATION_CONTROL, 1)
    cpu.write(SyntheticMsr.TSC_EMULATION_STATUS, 1)
    assert cpu.read(SyntheticMsr.TSC_EMULATION_STATUS) == 0
    cpu.write(SyntheticMsr.TSC_INVARIANT_CONTROL, 1)
    cpu.write(SyntheticMsr.TSC_INVARIANT_CONTROL, 0)
    assert cpu.read(SyntheticMsr.TSC_INVARIANT_CONTROL) == 1


def test_constants_of_the_architecture(cpu: Cpu) -> None:
    cpu.write(0x8B, 0)
    assert cpu.read(0x8B) == 1 << 32
    assert cpu.read(0x17) == 0
    assert cpu.read(0x1A0) == 1
    cpu.write(0x1A0, 0)
    assert cpu.read(0x1A0) == 0
    assert cpu.read(0x3A) == 1
    with pytest.raises(GeneralProtection):
        cpu.write(0x3A, 5)
    with pytest.raises(GeneralProtection):
        cpu.read(0x802)


INDEXES = st.one_of(
    st.sampled_from(IMPLEMENTED),
    st.integers(0x40000000, 0x40000120),
    st.sampled_from([0x10, 0x1B, 0x3B, 0x8B, 0x1A0, 0x6E0]),
    st.integers(0x800, 0x840),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(INDEXES, st.integers(0, (1 << 64) - 1), st.booleans()), max_size=60))
def test_garbage_in_every_msr_raises_nothing_but_faults(
    steps: list[tuple[int, int, bool]],
) -> None:
    cpu = Cpu(standalone_partition(PartitionConfiguration(memory_size=1 << 20, x2apic=True)))
    for index, value, small in steps:
        for access in (
            lambda: cpu.write(index, value & 0xFFFF if small else value),  # noqa: B023
            lambda: cpu.read(index),  # noqa: B023
        ):
            try:
                access()
            except GeneralProtection:
                continue
    assert cpu.box.advance(1_000_000) < 1_000
