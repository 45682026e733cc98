"""A queue of deadlines in virtual time, with an order that is the same in every run."""

import heapq
from collections.abc import Callable

MINIMUM_PERIOD = 10_000
"""The shortest period in nanoseconds of a periodic timer; a guest that asks for less gets this.

Without a floor a guest could ask for more expirations than anything could ever process.
"""


class TimerHandle:
    """One scheduled callback; give it to `TimerQueue.cancel` to take it back."""

    __slots__ = ("at", "callback")

    def __init__(self, at: int, callback: Callable[[], None] | None) -> None:
        self.at = at
        self.callback = callback

    @property
    def active(self) -> bool:
        """Whether the callback is still to be called."""
        return self.callback is not None


class TimerQueue:
    """Callbacks by deadline; equal deadlines run in the order in which they were scheduled.

    Attributes:
        changed: called with no arguments whenever the next deadline may have become another; the
            machine uses it to shorten or lengthen the time until it looks again.
    """

    __slots__ = ("_cancelled", "_heap", "_sequence", "changed")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, TimerHandle]] = []
        self._sequence = 0
        self._cancelled = 0
        self.changed: Callable[[], None] | None = None

    def schedule(self, at: int, callback: Callable[[], None]) -> TimerHandle:
        """Have `callback` called when the time reaches `at` nanoseconds.

        A deadline in the past is due at once, at the next `run_due`.
        """
        handle = TimerHandle(at, callback)
        self._sequence += 1
        heapq.heappush(self._heap, (at, self._sequence, handle))
        if self._heap[0][2] is handle and self.changed is not None:
            self.changed()
        return handle

    def cancel(self, handle: TimerHandle) -> None:
        """Take a callback back; one that has run or was cancelled before stays as it is."""
        if handle.callback is None:
            return
        handle.callback = None
        self._cancelled += 1
        # Cancelled entries are left in the heap until they surface; when they outnumber the live
        # ones they are swept out, so that a guest that re-arms timers cannot grow it.
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_deadline(self) -> int | None:
        """Return the earliest deadline in nanoseconds, or None when nothing is scheduled."""
        heap = self._heap
        while heap:
            at, _, handle = heap[0]
            if handle.callback is not None:
                return at
            heapq.heappop(heap)
            self._cancelled -= 1
        return None

    def run_due(self, now: int) -> int:
        """Call every callback whose deadline is not after `now`, earliest first.

        A callback may schedule further ones; those that are due already run too.

        Returns:
            How many callbacks ran.
        """
        ran = 0
        while self._heap and self._heap[0][0] <= now:
            handle = heapq.heappop(self._heap)[2]
            callback = handle.callback
            if callback is None:
                self._cancelled -= 1
                continue
            handle.callback = None
            callback()
            ran += 1
        return ran

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled
