import struct

import pytest

from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.page_faults import BRING_IN_NS, MAX_QUEUE_PAGES, PageFaults
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.call_flags import HeatType
from hypercall.tlfs.gpa_range import GpaRange
from hypercall.tlfs.registers import RegisterName

QUEUE_PAGE = 0x10
QUEUE = QUEUE_PAGE << 12
SLOTS = (4096 - 16) // 8
ASSIST = 0x20000
FAULT = ASSIST + 64
INTERRUPTS_ENABLED = 0x202


@pytest.fixture
def box() -> StandalonePartition:
    box = standalone_partition(PartitionConfiguration(memory_size=1 << 20))
    vp = box.partition.bootstrap
    box.partition.msrs.write(vp, 0x40000073, ASSIST | 1)
    box.effects.write_register(vp, 0, RegisterName.RFLAGS, INTERRUPTS_ENABLED)
    assert box.partition.page_faults.set_up(0, QUEUE_PAGE, 1) == 1
    box.effects.clear()
    return box


def parts(box: StandalonePartition) -> tuple[PageFaults, VirtualProcessor]:
    return box.partition.page_faults, box.partition.bootstrap


def fault(box: StandalonePartition) -> tuple[int, ...]:
    return struct.unpack("<HHIQ", box.partition.memory.read(FAULT, 16))


def consume(box: StandalonePartition) -> None:
    box.partition.memory.write_u32(FAULT + 4, 0)


def completions(box: StandalonePartition) -> list[int]:
    """Take what is in the queue, as a guest does."""
    memory = box.partition.memory
    reader, writer = struct.unpack("<QQ", memory.read(QUEUE, 16))
    found = []
    while reader != writer:
        found.append(memory.read_u64(QUEUE + 16 + 8 * reader))
        reader = (reader + 1) % SLOTS
    memory.write_u64(QUEUE, reader)
    return found


def test_a_fault_and_its_completion(box: StandalonePartition) -> None:
    faults, vp = parts(box)
    faults.evict(5)
    assert box.effects.named("hint_memory") == [(HeatType.COLD, 5, 1)]
    assert faults.touched(vp, 5)
    assert fault(box) == (0, 0, 1, 5)
    assert box.effects.named("inject_exception") == [(vp, 0, 20, None, 0)]
    assert box.partition.memory.evicted == {5}
    box.advance(BRING_IN_NS - 1)
    assert completions(box) == []
    box.advance(1)
    assert box.partition.memory.evicted == set()
    assert completions(box) == [5]


def test_a_page_is_completed_once_however_often_it_faults(box: StandalonePartition) -> None:
    faults, vp = parts(box)
    faults.evict(5)
    assert faults.touched(vp, 5)
    consume(box)
    assert faults.touched(vp, 5)
    box.advance(2 * BRING_IN_NS)
    assert completions(box) == [5]


@pytest.mark.parametrize("obstacle", ["IF", "TPR", "unconsumed", "assist page", "not set up"])
def test_where_no_fault_can_be_raised_the_page_comes_in_at_once(
    box: StandalonePartition, obstacle: str
) -> None:
    faults, vp = parts(box)
    if obstacle == "IF":
        box.effects.write_register(vp, 0, RegisterName.RFLAGS, 2)
    elif obstacle == "TPR":
        vp.current.apic.write_task_priority(0x20)
    elif obstacle == "unconsumed":
        box.partition.memory.write_u32(FAULT + 4, 7)
    elif obstacle == "assist page":
        box.partition.msrs.write(vp, 0x40000073, 0)
    else:
        faults.reset()
    faults.evict(5)
    assert not faults.touched(vp, 5)
    assert not box.effects.named("inject_exception")
    assert box.partition.memory.evicted == set()
    box.advance(BRING_IN_NS)
    assert completions(box) == []


def test_a_priority_below_dispatch_level_takes_faults(box: StandalonePartition) -> None:
    faults, vp = parts(box)
    vp.current.apic.write_task_priority(0x1F)
    faults.evict(5)
    assert faults.touched(vp, 5)


def test_whoever_was_told_hears_of_a_page_that_comes_in_early(box: StandalonePartition) -> None:
    faults, vp = parts(box)
    faults.evict(5)
    faults.evict(6)
    faults.touched(vp, 5)
    faults.bring_in_range(4, 4)
    assert completions(box) == [5]
    box.advance(BRING_IN_NS)
    assert completions(box) == []


def test_hints_bring_pages_in(box: StandalonePartition) -> None:
    faults, _ = parts(box)
    hints = box.partition.memory_hints
    for heat, left in ((HeatType.COLD, {5, 6}), (HeatType.HOT, {6}), (HeatType.COLD_DISCARD, {6})):
        faults.evict(5)
        faults.evict(6)
        hints.follow(heat, [GpaRange(5, 1, False)])
        assert box.partition.memory.evicted == left


def test_a_full_queue_is_filled_when_the_guest_has_read(box: StandalonePartition) -> None:
    faults, vp = parts(box)
    memory = box.partition.memory
    memory.write(QUEUE, struct.pack("<QQ", 3, 2))
    faults.evict(5)
    faults.touched(vp, 5)
    box.advance(3 * BRING_IN_NS)
    assert memory.read_u64(QUEUE + 8) == 2
    memory.write_u64(QUEUE, 2)
    box.advance(BRING_IN_NS)
    assert completions(box) == [5]


def test_cursors_go_around_and_may_be_nonsense(box: StandalonePartition) -> None:
    faults, vp = parts(box)
    for writer, slot in ((SLOTS - 1, SLOTS - 1), (SLOTS, 0), (2**64 - 1, 0)):
        box.partition.memory.write(QUEUE, struct.pack("<QQ", 9, writer))
        faults.evict(5)
        assert faults.touched(vp, 5)
        faults.bring_in(5)
        assert box.partition.memory.read_u64(QUEUE + 16 + 8 * slot) == 5
        assert box.partition.memory.read_u64(QUEUE + 8) == (slot + 1) % SLOTS
        consume(box)


@pytest.mark.parametrize(
    ("page", "count", "used"),
    [
        (0x10, 2, 2),
        (0x10, 1000, MAX_QUEUE_PAGES),
        (0x10, 0, None),
        (0xFF, 2, None),
        (1 << 40, 1, None),
    ],
)
def test_set_up(box: StandalonePartition, page: int, count: int, used: int | None) -> None:
    assert box.partition.page_faults.set_up(0, page, count) == used


def test_reset(box: StandalonePartition) -> None:
    faults, vp = parts(box)
    faults.evict(5)
    faults.touched(vp, 5)
    box.partition.reset()
    assert faults.queue is None
    assert box.partition.memory.evicted == set()
    assert box.partition.timers.next_deadline() is None
