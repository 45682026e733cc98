"""Processors that wait for data from the debugger, in virtual time."""

from typing import TYPE_CHECKING

from hypercall.partition.debug_channel import DebugChannel

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessor


class DebugWait:
    """One processor's wait for data from the debugger (HvRetrieveDebugData, RETRIEVE_LOOP).

    Attributes:
        request: what the processor asked for; another request begins another wait.
        deadline: the time in nanoseconds at which it gives up.
    """

    __slots__ = ("_handle", "_vp", "deadline", "request")

    def __init__(self, vp: "VirtualProcessor", request: tuple[int, ...], deadline: int) -> None:
        self.request = request
        self.deadline = deadline
        self._vp = vp
        self._handle = vp.partition.timers.schedule(deadline, self.wake)

    def wake(self) -> None:
        """Let the processor issue its call again."""
        self._vp.partition.effects.resume(self._vp)

    def end(self) -> None:
        """Take the deadline back."""
        self._vp.partition.timers.cancel(self._handle)


class DebugWaits:
    """Which processors wait for data from the debugger.

    Args:
        channel: where the data arrive.
    """

    def __init__(self, channel: DebugChannel) -> None:
        self._waits: dict[int, DebugWait] = {}
        self._channel = channel
        channel.listeners.append(self._arrived)

    @property
    def latest_deadline(self) -> int:
        """The time in nanoseconds when the last one gives up; -1 when nobody waits."""
        return max((wait.deadline for wait in self._waits.values()), default=-1)

    def waiting(self, vp: "VirtualProcessor") -> bool:
        """Return whether a processor waits."""
        return vp.index in self._waits

    def go_on(self, vp: "VirtualProcessor", request: tuple[int, ...], timeout_ns: int) -> bool:
        """Let a processor wait, from the first call of a request on.

        Args:
            vp: the processor, which issues its call again when it is resumed.
            request: the parameters by which the repeated call is known.
            timeout_ns: how long the first call may wait.

        Returns:
            Whether it waits; False when its time is over.
        """
        now = vp.partition.clock.now()
        wait = self._waits.get(vp.index)
        if wait is not None and wait.request != request:
            # An interrupt came between, and its handler never returned to the call.
            self.end(vp)
            wait = None
        if wait is None:
            wait = self._waits[vp.index] = DebugWait(vp, request, now + timeout_ns)
        if now >= wait.deadline:
            self.end(vp)
            return False
        vp.partition.effects.suspend(vp)
        return True

    def end(self, vp: "VirtualProcessor") -> None:
        """Let a processor wait no longer."""
        wait = self._waits.pop(vp.index, None)
        if wait is not None:
            wait.end()

    def reset(self) -> None:
        """Let nobody wait."""
        for wait in self._waits.values():
            wait.end()
        self._waits.clear()

    def _arrived(self) -> None:
        if self._channel.incoming_count:
            for wait in tuple(self._waits.values()):
                wait.wake()
