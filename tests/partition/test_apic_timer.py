from collections.abc import Callable

import pytest

from hypercall.partition.local_apic import LocalApic
from hypercall.partition.standalone import StandalonePartition

MakePartition = Callable[..., StandalonePartition]

LVT_TIMER, INITIAL, CURRENT, DIVIDE = 0x320, 0x380, 0x390, 0x3E0
DIVIDE_BY_1 = 0xB


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    return make_partition(1)


@pytest.fixture
def apic(box: StandalonePartition) -> LocalApic:
    apic = box.partition.bootstrap.current.apic
    apic.write_mmio(0xF0, 0x1FF)
    return apic


def test_one_shot_counts_the_divided_bus_clock(box: StandalonePartition, apic: LocalApic) -> None:
    apic.write_mmio(DIVIDE, 0x3)  # by 16: 80 ns a count
    apic.write_mmio(LVT_TIMER, 0x50)
    apic.write_mmio(INITIAL, 1000)
    box.advance(40_000)
    assert apic.read_mmio(CURRENT) == 500
    assert apic.pending_vector() is None
    box.advance(40_000)
    assert apic.acknowledge() == 0x50
    assert apic.read_mmio(CURRENT) == 0
    apic.eoi()
    box.advance(10**9)
    assert apic.pending_vector() is None


@pytest.mark.parametrize(
    ("register", "divisor"),
    [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)],
)
def test_divisors(box: StandalonePartition, apic: LocalApic, register: int, divisor: int) -> None:
    apic.write_mmio(DIVIDE, register)
    apic.write_mmio(INITIAL, 10_000)
    assert box.partition.timers.next_deadline() == 10_000 * 5 * divisor


def test_periodic_keeps_its_phase_and_merges_missed_expirations(
    box: StandalonePartition, apic: LocalApic
) -> None:
    apic.write_mmio(DIVIDE, DIVIDE_BY_1)
    apic.write_mmio(LVT_TIMER, 1 << 17 | 0x50)
    apic.write_mmio(INITIAL, 10_000)  # 50 us
    assert box.advance(100_000) == 2
    box.time.advance(175_000)
    assert box.partition.timers.run_due(box.time.nanoseconds) == 1
    assert box.partition.timers.next_deadline() == 300_000


def test_a_masked_timer_counts_without_interrupting(
    box: StandalonePartition, apic: LocalApic
) -> None:
    apic.write_mmio(INITIAL, 10)
    assert box.advance(10_000) == 1
    assert apic.pending_vector() is None


def test_an_absurd_period_does_not_starve_the_host(
    box: StandalonePartition, apic: LocalApic
) -> None:
    apic.write_mmio(DIVIDE, DIVIDE_BY_1)
    apic.write_mmio(LVT_TIMER, 1 << 17 | 0x50)
    apic.write_mmio(INITIAL, 1)
    assert box.advance(1_000_000) <= 101


def test_tsc_deadline(box: StandalonePartition, apic: LocalApic) -> None:
    partition = box.partition
    vp = partition.bootstrap
    apic.write_mmio(LVT_TIMER, 2 << 17 | 0x50)
    partition.msrs.write(vp, 0x10, 5_000_000)
    partition.msrs.write(vp, 0x6E0, 5_100_000)
    assert partition.msrs.read(vp, 0x6E0) == 5_100_000
    apic.write_mmio(INITIAL, 5)
    assert partition.timers.next_deadline() == 100_000
    box.advance(100_000)
    assert apic.pending_vector() == 0x50
    assert partition.msrs.read(vp, 0x6E0) == 0
    partition.msrs.write(vp, 0x6E0, 9_000_000)
    partition.msrs.write(vp, 0x6E0, 0)
    assert partition.timers.next_deadline() is None


def test_leaving_deadline_mode_disarms(box: StandalonePartition, apic: LocalApic) -> None:
    apic.write_mmio(LVT_TIMER, 2 << 17 | 0x50)
    box.partition.msrs.write(box.partition.bootstrap, 0x6E0, 1_000)
    apic.write_mmio(LVT_TIMER, 0x50)
    assert box.partition.timers.next_deadline() is None


def test_a_new_divisor_continues_the_count(box: StandalonePartition, apic: LocalApic) -> None:
    apic.write_mmio(DIVIDE, DIVIDE_BY_1)
    apic.write_mmio(INITIAL, 1000)
    box.advance(2_500)
    apic.write_mmio(DIVIDE, 0)
    assert apic.read_mmio(CURRENT) == 500
    assert box.partition.timers.next_deadline() == 2_500 + 500 * 10
