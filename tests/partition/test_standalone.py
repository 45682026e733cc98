from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.standalone import standalone_partition


def test_timers_run_at_their_own_time() -> None:
    box = standalone_partition()
    seen: list[int] = []
    box.partition.timers.schedule(100, lambda: seen.append(box.time.nanoseconds))
    box.partition.timers.schedule(250, lambda: seen.append(box.time.nanoseconds))
    assert box.advance(200) == 1
    assert box.advance(200) == 1
    assert seen == [100, 250]
    assert box.time.nanoseconds == 400


def test_the_default_has_one_processor() -> None:
    partition = standalone_partition().partition
    assert len(partition.processors) == 1
    assert partition.memory.size == 1 << 20


def test_every_processor_can_have_all_its_overlay_pages() -> None:
    configuration = PartitionConfiguration(processors=processors_in_order(64), memory_size=1 << 20)
    partition = standalone_partition(configuration).partition
    for vp in partition.processors:
        for number, msr in enumerate((0x40000073, 0x40000082, 0x40000083)):
            partition.msrs.write(vp, msr, (vp.index * 4 + number << 12) | 1)
    assert len(partition.memory.overlay_pages()) == 64 * 3
