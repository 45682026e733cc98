from hypercall.machine.turns import TURN_NS, Turns
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.standalone import standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessor


def turns(seed: int = 0, count: int = 4) -> tuple[Turns, list[VirtualProcessor]]:
    box = standalone_partition(PartitionConfiguration(processors=processors_in_order(count)))
    processors = box.partition.processors
    return Turns(processors, seed), processors


def test_each_in_turn() -> None:
    order, processors = turns()
    everyone = set(processors)
    assert [order.next(everyone).index for _ in range(6)] == [0, 1, 2, 3, 0, 1]


def test_those_that_cannot_run_are_left_out() -> None:
    order, processors = turns()
    some = {processors[1], processors[3]}
    assert [order.next(some).index for _ in range(4)] == [1, 3, 1, 3]
    assert order.next(set(processors)).index == 0


def test_the_seed_varies_the_lengths() -> None:
    lengths = [[turns(seed)[0].length() for _ in range(1)] for seed in range(20)]
    assert len({tuple(length) for length in lengths}) > 15
    first, second = turns(3)[0], turns(3)[0]
    assert [first.length() for _ in range(50)] == [second.length() for _ in range(50)]


def test_the_mean_length() -> None:
    order, _ = turns(1)
    lengths = [order.length() for _ in range(2000)]
    assert abs(sum(lengths) / len(lengths) - TURN_NS) < TURN_NS / 20
    assert all(100_000 <= length < 500_000 for length in lengths)
