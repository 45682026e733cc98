"""Time that moves when told to, and interrupt lines that keep what devices do to them."""

import pytest

from hypercall.partition.clock import ManualClock, ReferenceClock
from hypercall.partition.timers import TimerQueue


class Bench:
    """What a device is connected to.

    Attributes:
        clock: a clock that stands still but for ``advance``.
        timers: the timer queue.
        changes: (line, level) of every change of an interrupt line, oldest first.
    """

    def __init__(self) -> None:
        self.time = ManualClock()
        self.clock = ReferenceClock(self.time.now)
        self.timers = TimerQueue()
        self.changes: list[tuple[int, bool]] = []
        self.levels: dict[int, bool] = {}

    def set_irq(self, line: int, level: bool) -> None:
        self.changes.append((line, level))
        self.levels[line] = level

    def rises(self, line: int) -> int:
        return self.changes.count((line, True))

    def advance(self, nanoseconds: int) -> None:
        end = self.time.nanoseconds + nanoseconds
        while (deadline := self.timers.next_deadline()) is not None and deadline <= end:
            self.time.nanoseconds = max(self.time.nanoseconds, deadline)
            self.timers.run_due(self.time.nanoseconds)
        self.time.nanoseconds = end


@pytest.fixture
def bench() -> Bench:
    return Bench()
