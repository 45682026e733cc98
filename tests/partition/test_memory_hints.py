import pytest

from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.memory import LOW_RAM_LIMIT
from hypercall.partition.memory_hints import COMPLETION_NS, MOST_PENDING
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.tlfs.call_flags import HeatType
from hypercall.tlfs.gpa_range import GpaRange
from hypercall.tlfs.privileges import ExtendedCapability
from hypercall.tlfs.status import HvStatus

CONFIGURATION = PartitionConfiguration(memory_size=4 << 20)


def test_hints_followed_later_wait_for_the_time() -> None:
    box = standalone_partition(CONFIGURATION)
    hints = box.partition.memory_hints
    hints.follow_later(0, HeatType.HOT, [GpaRange(1, 2, False)])
    hints.follow_later(0, HeatType.COLD, [GpaRange(5, 1, False)])
    assert hints.pending_count == 2
    assert not box.effects.named("hint_memory")
    box.advance(COMPLETION_NS)
    assert hints.pending_count == 0
    assert box.effects.named("hint_memory") == [(HeatType.HOT, 1, 2), (HeatType.COLD, 5, 1)]


def secure_box() -> StandalonePartition:
    """A partition whose VTL 1 is enabled."""
    box = standalone_partition(CONFIGURATION)
    box.partition.vsm.enable_partition_vtl(1, mbec=False)
    return box


def test_what_a_higher_vtl_keeps_is_not_dropped_beneath_an_overlay_either() -> None:
    box = secure_box()
    partition = box.partition
    partition.vsm.protect(1, [7], 1)
    status = partition.memory_hints.range_status
    for _ in range(2):
        assert status(0, HeatType.COLD_DISCARD, GpaRange(6, 2, False)) is HvStatus.ACCESS_DENIED
        assert status(1, HeatType.COLD_DISCARD, GpaRange(6, 2, False)) is HvStatus.SUCCESS
        assert status(0, HeatType.COLD_DISCARD, GpaRange(6, 1, False)) is HvStatus.SUCCESS
        partition.bootstrap.vtls[0].assist_page.write(0x7001)


def test_what_is_protected_meanwhile_is_not_dropped() -> None:
    box = secure_box()
    hints = box.partition.memory_hints
    hints.follow_later(0, HeatType.COLD_DISCARD, [GpaRange(1, 2, False), GpaRange(5, 1, False)])
    hints.follow_later(1, HeatType.COLD_DISCARD, [GpaRange(2, 1, False)])
    hints.follow_later(0, HeatType.COLD, [GpaRange(2, 1, False)])
    box.partition.vsm.protect(1, [2], 1)
    box.advance(COMPLETION_NS)
    assert box.effects.named("hint_memory") == [
        (HeatType.COLD_DISCARD, 5, 1),
        (HeatType.COLD_DISCARD, 2, 1),
        (HeatType.COLD, 2, 1),
    ]


def test_so_many_hints_wait_and_no_more() -> None:
    box = standalone_partition(CONFIGURATION)
    hints = box.partition.memory_hints
    for _ in range(MOST_PENDING + 5):
        hints.follow_later(0, HeatType.HOT, [GpaRange(1, 2, False)])
    assert hints.pending_count == MOST_PENDING
    assert len(box.effects.named("hint_memory")) == 5
    box.advance(COMPLETION_NS)
    assert len(box.effects.named("hint_memory")) == MOST_PENDING + 5


def test_a_reset_forgets_hints_that_wait() -> None:
    box = standalone_partition(CONFIGURATION)
    box.partition.memory_hints.follow_later(0, HeatType.COLD_DISCARD, [GpaRange(1, 2, False)])
    box.partition.reset()
    box.advance(COMPLETION_NS)
    assert not box.effects.named("hint_memory")


@pytest.mark.parametrize(
    ("heat", "capabilities", "status"),
    [
        (0, ExtendedCapability.MEMORY_HEAT_HINT, HvStatus.SUCCESS),
        (2, ExtendedCapability.MEMORY_HEAT_HINT, HvStatus.INVALID_PARAMETER),
        (2, ExtendedCapability.MEMORY_COLD_DISCARD_HINT, HvStatus.SUCCESS),
        (1, ExtendedCapability.MEMORY_COLD_DISCARD_HINT, HvStatus.INVALID_PARAMETER),
        (3, ExtendedCapability.all(), HvStatus.INVALID_PARAMETER),
    ],
)
def test_types_and_their_capabilities(
    heat: int, capabilities: ExtendedCapability, status: HvStatus
) -> None:
    box = standalone_partition(CONFIGURATION.replace(extended_capabilities=capabilities))
    hints = box.partition.memory_hints
    assert hints.type_status(heat, ExtendedCapability.MEMORY_HEAT_HINT) is status


@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (GpaRange(0, 1024, True), HvStatus.SUCCESS),
        (GpaRange(1023, 1, False), HvStatus.SUCCESS),
        (GpaRange(1023, 2, False), HvStatus.INVALID_PARAMETER),
        (GpaRange(1024, 512, True), HvStatus.INVALID_PARAMETER),
        (None, HvStatus.INVALID_PARAMETER),
    ],
)
def test_ranges_lie_in_ram(entry: GpaRange | None, status: HvStatus) -> None:
    hints = standalone_partition(CONFIGURATION).partition.memory_hints
    assert hints.range_status(0, HeatType.COLD, entry) is status


def test_a_range_does_not_reach_over_the_hole_below_4g(monkeypatch: pytest.MonkeyPatch) -> None:
    hints = standalone_partition(CONFIGURATION).partition.memory_hints
    memory = hints._partition.memory
    monkeypatch.setattr(memory, "size_below_4g", LOW_RAM_LIMIT)
    monkeypatch.setattr(memory, "high_end", (4 << 30) + (1 << 30))
    low_end, high = LOW_RAM_LIMIT >> 12, 1 << 20
    for entry, status in (
        (GpaRange(low_end - 1, 1, False), 0),
        (GpaRange(high, 4, False), 0),
        (GpaRange(low_end - 1, high - low_end + 2, False), HvStatus.INVALID_PARAMETER),
    ):
        assert hints.range_status(0, HeatType.COLD, entry) == status
