"""Going to any moment of a recorded run, forward and back."""

from bisect import bisect_right
from collections.abc import Callable
from typing import TYPE_CHECKING

from hypercall.errors import HypercallError, InputError
from hypercall.machine.result import StopReason
from hypercall.recording.moment import CallMoment, Moment, MomentWatch, TimeMoment, WatchedMoment
from hypercall.recording.recording import End, Recording
from hypercall.trace.events import Event, HypercallEvent

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine
    from hypercall.snapshot.snapshot import Snapshot

SPACING_NS = 200_000_000
"""The virtual time between the snapshots that are taken on the way, unless told otherwise."""

_MOST_SNAPSHOTS = 32


class InterruptedReplayError(HypercallError):
    """Somebody called ``machine.interrupt()``: the run stands where it was then."""


class Replay:
    """A recorded run, at some moment of it.

    Going back restores a snapshot that was taken on the way and runs on from there, so what is
    seen is what happened. The machine may be looked into at every stop; who changes it has
    another run from there on. Whatever goes to another moment raises `InterruptedReplayError` if
    the machine is interrupted meanwhile, from a signal handler for instance.

    Args:
        recording: the run.
        spacing_ns: the virtual time between the snapshots that are taken on the way.
        prepare: called with the machine before the first moment; what it appends to the
            machine's ``state_holders`` goes back with it.

    Attributes:
        recording: the run.
        machine: the machine at the present moment.
    """

    def __init__(
        self,
        recording: Recording,
        spacing_ns: int = SPACING_NS,
        prepare: "Callable[[Machine], None] | None" = None,
    ) -> None:
        self.recording = recording
        self._spacing = spacing_ns
        self.machine = recording.machine()
        self._calls = [0]
        self._ended = [False]
        self.machine.state_holders += [self._calls, self._ended]
        self.machine.trace.subscribe(self._count, HypercallEvent)
        if prepare is not None:
            prepare(self.machine)
        self._snapshots: list[Snapshot] = [self.machine.snapshot()]

    @property
    def time_ns(self) -> int:
        """The virtual time in nanoseconds."""
        return self.machine.time_ns

    @property
    def calls(self) -> int:
        """How many hypercalls were made so far; a continued one counts each time it is issued."""
        return self._calls[0]

    @property
    def ended(self) -> bool:
        """Whether the end of the recorded run is reached."""
        return self._ended[0]

    def go_to_time(self, time_ns: int) -> None:
        """Go to a virtual time, in nanoseconds, or to the end if that comes earlier.

        Raises:
            InputError: the time is negative.
        """
        if time_ns < 0:
            raise InputError(f"there is no time {time_ns} ns: give one from 0 on")
        if time_ns < self.time_ns or self.ended:
            self._go_back(time_ns)
        self._run_to(time_ns)

    def go_to_call(self, number: int, call: int | None = None) -> bool:
        """Go to the moment when a call has just been made, counted from the beginning.

        Args:
            number: 1 for the first.
            call: count the calls with this code alone, a `Call` for instance.

        Returns:
            Whether there is such a call; if not, the run is at its end.

        Raises:
            InputError: the number is less than 1.
        """
        if number < 1:
            raise InputError(f"there is no call {number}: the first is number 1")
        if call is not None or number <= self.calls or self.ended:
            # How often a call of one kind was made is known from the beginning only.
            self._restore(self._snapshot_before_call(number) if call is None else 0)
        return self._run_until(
            CallMoment(number if call is not None else number - self.calls, call)
        )

    def go_to(self, moment: Moment) -> bool:
        """Go to a moment, counted from the beginning of the run.

        Returns:
            Whether it comes; if not, the run is at its end.
        """
        if isinstance(moment, TimeMoment):
            self.go_to_time(moment.time_ns)
            return self.time_ns >= moment.time_ns
        if isinstance(moment, CallMoment):
            return self.go_to_call(moment.number, moment.code)
        self._restore(0)
        return self._run_until(moment)

    def step_back(self, calls: int = 1) -> bool:
        """Go back to the moment when an earlier call had just been made.

        Args:
            calls: how many calls to go back from the last one that was made.

        Returns:
            Whether there is one; if not, the run is at its beginning.
        """
        number = self.calls - calls
        if number < 1:
            self._restore(0)
            return False
        return self.go_to_call(number)

    def go_to_end(self) -> End:
        """Go to the end of the run, and return how it ended."""
        while not self.ended:
            self._run_to(self.time_ns + self._spacing)
        return self._end

    def _run_until(self, moment: WatchedMoment) -> bool:
        """Run until a moment comes, counted from now on, or to the end."""
        watch = MomentWatch(self.machine, moment)
        try:
            while not (self.ended or watch.reached):
                self._run_to(self.time_ns + self._spacing)
        finally:
            watch.close()
        return watch.reached

    def _run_to(self, time_ns: int) -> None:
        machine = self.machine
        last = self.recording.limit_ns
        while not self.ended:
            newest = self._snapshots[-1].time_ns
            target = time_ns
            if machine.time_ns >= newest:
                target = min(time_ns, newest + self._spacing)
            if last is not None:
                target = min(target, last)
            result = machine.run(target)
            if result.reason is StopReason.PAUSED:
                return
            if result.reason is StopReason.INTERRUPTED:
                raise InterruptedReplayError(f"interrupted at {machine.time_ns / 1e9:.9f} s")
            at_last = last is not None and machine.time_ns >= last
            if result.reason is not StopReason.LIMIT or at_last:
                self._ended[0] = True
                self._end = End.of(result)
                return
            if target == newest + self._spacing:
                self._keep()
            if machine.time_ns >= time_ns:
                return

    def _keep(self) -> None:
        """Take a snapshot, and let every second one go where there are too many."""
        if len(self._snapshots) >= _MOST_SNAPSHOTS:
            for snapshot in self._snapshots[1:-1:2]:
                snapshot.close()
            self._snapshots[1:-1] = self._snapshots[2:-1:2]
        self._snapshots.append(self.machine.snapshot())

    def _go_back(self, time_ns: int) -> None:
        times = [snapshot.time_ns for snapshot in self._snapshots]
        self._restore(max(0, bisect_right(times, time_ns) - 1))

    def _snapshot_before_call(self, number: int) -> int:
        for index in range(len(self._snapshots) - 1, 0, -1):
            self._restore(index)
            if self.calls < number:
                return index
        return 0

    def _restore(self, index: int) -> None:
        self.machine.restore(self._snapshots[index])

    def _count(self, event: Event) -> None:
        self._calls[0] += 1
