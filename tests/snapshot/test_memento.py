import random
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.guests.kit import Guest

from hypercall.partition.clock import ManualClock
from hypercall.partition.timers import TimerQueue
from hypercall.snapshot.memento import Memento


@dataclass(slots=True)
class Foreign:
    """An object of a user, which is no part of a machine."""

    value: int = 1
    inside: list[int] = field(default_factory=lambda: [1])


def test_containers_get_their_content_back_in_place() -> None:
    things: list[Any] = [[1], {"a": 1}, {1, 2}, deque([1, 2], maxlen=5), bytearray(b"ab")]
    counter = Counter("aab")
    things.append(counter)
    same = list(things)
    memento = Memento([things])
    things[0].append(2)
    things[1]["b"] = 2
    things[2].discard(1)
    things[3].appendleft(0)
    things[4] += b"c"
    counter["a"] += 1
    things.append(None)
    memento.restore()
    assert things == [[1], {"a": 1}, {1, 2}, deque([1, 2]), bytearray(b"ab"), Counter("aab")]
    assert all(new is old for new, old in zip(things, same, strict=True))


def test_what_only_the_old_state_referred_to_comes_back_as_it_was() -> None:
    inner = [1]
    outer: dict[str, Any] = {"inner": (0, inner)}
    memento = Memento([outer])
    outer.clear()
    inner.append(2)
    memento.restore()
    assert outer == {"inner": (0, [1])}


def test_objects_are_found_through_functions_of_all_kinds() -> None:
    clock, queue = ManualClock(), TimerQueue()
    seen: list[int] = []

    def closure() -> None:
        seen.append(1)

    memento = Memento([clock.now, partial(queue.run_due, 5), closure])
    clock.nanoseconds = 7
    queue.schedule(3, closure)
    queue.run_due(5)
    memento.restore()
    assert (clock.nanoseconds, len(queue), seen) == (0, 0, [])


def test_a_sequence_of_random_numbers_goes_on_where_it_was() -> None:
    numbers = random.Random(5)
    memento = Memento([numbers])
    first = [numbers.random() for _ in range(3)]
    memento.restore()
    assert [numbers.random() for _ in range(3)] == first


def test_attributes_that_were_not_there_go() -> None:
    machine = Guest("ret").machine()
    memento = Memento([machine])
    machine.console.extra = 1  # type: ignore[attr-defined]
    memento.restore()
    assert not hasattr(machine.console, "extra")


def test_objects_of_others_are_left_alone() -> None:
    foreign = Foreign()
    holder = [foreign]
    memento = Memento([holder])
    foreign.value = 2
    foreign.inside.append(2)
    memento.restore()
    assert (foreign.value, foreign.inside) == (2, [1, 2])


def test_it_can_be_restored_again() -> None:
    things = [1]
    memento = Memento([things])
    for _ in range(2):
        things.append(2)
        memento.restore()
        assert things == [1]
