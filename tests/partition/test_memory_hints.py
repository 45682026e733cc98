import pytest

from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.memory import LOW_RAM_LIMIT
from hypercall.partition.memory_hints import COMPLETION_NS
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.call_flags import HeatType
from hypercall.tlfs.gpa_range import GpaRange
from hypercall.tlfs.privileges import ExtendedCapability
from hypercall.tlfs.status import HvStatus

CONFIGURATION = PartitionConfiguration(memory_size=4 << 20)


def test_hints_followed_later_wait_for_the_time() -> None:
    box = standalone_partition(CONFIGURATION)
    hints = box.partition.memory_hints
    hints.follow_later(HeatType.HOT, [GpaRange(1, 2, False)])
    hints.follow_later(HeatType.COLD, [GpaRange(5, 1, False)])
    assert hints.pending_count == 2
    assert not box.effects.named("hint_memory")
    box.advance(COMPLETION_NS)
    assert hints.pending_count == 0
    assert box.effects.named("hint_memory") == [(HeatType.HOT, 1, 2), (HeatType.COLD, 5, 1)]


def test_a_reset_forgets_hints_that_wait() -> None:
    box = standalone_partition(CONFIGURATION)
    box.partition.memory_hints.follow_later(HeatType.COLD_DISCARD, [GpaRange(1, 2, False)])
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
