from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.standalone import StandalonePartition, standalone_partition

MILLISECOND = 1_000_000


def make() -> StandalonePartition:
    return standalone_partition(
        PartitionConfiguration(processors=processors_in_order(2), memory_size=1 << 20)
    )


def test_a_wait_ends_at_its_deadline() -> None:
    box = make()
    waits, vp = box.partition.debug_waits, box.partition.bootstrap
    assert waits.go_on(vp, (1,), MILLISECOND)
    assert box.effects.named("suspend") == [(vp,)]
    box.advance(MILLISECOND - 1)
    assert waits.waiting(vp)
    assert waits.latest_deadline == MILLISECOND
    assert not box.effects.named("resume")
    box.advance(1)
    assert box.effects.named("resume") == [(vp,)]
    assert not waits.go_on(vp, (1,), MILLISECOND)
    assert waits.latest_deadline == -1


def test_data_wake_every_waiting_processor() -> None:
    box = make()
    waits = box.partition.debug_waits
    first, second = box.partition.virtual_processors
    waits.go_on(first, (1,), MILLISECOND)
    waits.go_on(second, (1,), MILLISECOND)
    box.partition.debug_channel.send(b"x")
    assert box.effects.named("resume") == [(first,), (second,)]
    waits.end(first)
    box.effects.clear()
    box.partition.debug_channel.send(b"y")
    assert box.effects.named("resume") == [(second,)]


def test_another_request_is_another_wait() -> None:
    box = make()
    waits, vp = box.partition.debug_waits, box.partition.bootstrap
    waits.go_on(vp, (1,), MILLISECOND)
    box.advance(MILLISECOND)
    assert waits.go_on(vp, (2,), MILLISECOND)


def test_no_wait_of_no_time() -> None:
    box = make()
    assert not box.partition.debug_waits.go_on(box.partition.bootstrap, (1,), 0)
    assert not box.effects.named("suspend")


def test_reset_takes_the_deadlines_back() -> None:
    box = make()
    box.partition.debug_waits.go_on(box.partition.bootstrap, (1,), MILLISECOND)
    box.partition.reset()
    assert box.partition.debug_waits.latest_deadline == -1
    assert box.partition.timers.next_deadline() is None
