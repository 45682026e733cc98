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
