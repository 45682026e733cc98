"""The past of a run: snapshots that were taken on the way, and how to go back by them.

To go back is to restore a snapshot from before and to run to just before where the run was. A run
is the same each time, so what is in between need not be kept.
"""

import copy
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hypercall.errors import HypercallError
from hypercall.machine.debugging import DebugStop, Position, StopKind
from hypercall.machine.guest_machine import GuestMachine
from hypercall.machine.result import StopReason
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.snapshot.snapshot import Snapshot
from hypercall.trace.events import HypercallEvent
from hypercall.trace.statistics import Statistics

_MOST_MARKS = 24
# A snapshot is taken no more often than that its cost is a small part of the time.
_TIMES_ITS_COST = 12
_SHORTEST_SECONDS = 0.2
_BETWEEN = 1 << 64


class Called(Exception):  # noqa: N818
    """The user has interrupted a search in the past."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that can be gone back to.

    Attributes:
        snapshot: the machine then.
        position: where the run was.
        calls: what had been counted.
    """

    snapshot: Snapshot
    position: Position
    calls: Statistics


@dataclass(frozen=True, slots=True)
class Hit:
    """A stop that was found in the past."""

    position: Position
    stop: DebugStop


class History:
    """The past of the run of a machine since somebody began to keep it.

    Args:
        machine: the machine.
        calls: what counts the hypercalls; it goes back too.
        called: asked while the past is searched; true ends the search.
    """

    def __init__(
        self, machine: GuestMachine, calls: Statistics, called: Callable[[], bool] = lambda: False
    ) -> None:
        self._machine = machine
        self._calls = calls
        self._called = called
        self._marks: list[Mark] = []
        self._next_mark = 0.0
        self._due = False

    @property
    def possible(self) -> bool:
        """Whether the machine can go back at all."""
        return self._machine.configuration.time != "host"

    # --- keeping it ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin anew: what was before cannot be gone back to any more."""
        self.close()
        if self.possible:
            self._take()

    def due(self) -> bool:
        """Whether the run should return, so that `keep` can take a snapshot."""
        self._due = bool(self._marks) and time.monotonic() >= self._next_mark
        return self._due

    def keep(self) -> None:
        """Take a snapshot if it is time to, between runs."""
        if not self._due:
            return
        self._due = False
        if self._place() > self._marks[-1].position:
            self._take()
            self._thin_out()
        else:
            # It went back, and has not yet come to where it was.
            self._next_mark = time.monotonic() + _SHORTEST_SECONDS

    def close(self) -> None:
        """Let all snapshots go."""
        for mark in self._marks:
            mark.snapshot.close()
        self._marks = []

    def _take(self) -> None:
        started = time.monotonic()
        mark = Mark(Snapshot(self._machine), self._place(), copy.deepcopy(self._calls))
        self._marks.append(mark)
        now = time.monotonic()
        self._next_mark = now + max(_SHORTEST_SECONDS, _TIMES_ITS_COST * (now - started))

    def _thin_out(self) -> None:
        """Give up the snapshot whose loss matters least: old ones may lie far apart."""
        marks = self._marks
        if len(marks) <= _MOST_MARKS:
            return
        now = marks[-1].position[0]

        def gap(index: int) -> float:
            between = marks[index + 1].position[0] - marks[index - 1].position[0]
            return between / (now - marks[index].position[0] + 1)

        marks.pop(min(range(1, len(marks) - 1), key=gap)).snapshot.close()

    # --- going back ------------------------------------------------------------------------------

    def step_back(self, vp: VirtualProcessor) -> bool:
        """Go to before the instruction that a processor executed last.

        Returns:
            Whether there was one; otherwise the run is at its beginning, as far as it is known.

        Raises:
            Called: the user has interrupted; the run is where it was.
            HypercallError: the run did not come back to where it was.
        """
        with self._going_back() as origin:
            for mark in reversed(self._marks):
                if mark.position >= origin:
                    continue
                target = self._instruction_before(mark, origin, vp)
                if target is not None:
                    self._go(mark, target)
                    return True
            return self._go_to_beginning()

    def continue_back(self) -> DebugStop | None:
        """Go to the last breakpoint or watchpoint that was hit before.

        For a watchpoint that is before the instruction that touched the data.

        Returns:
            The stop; None if there was none, and the run is at its beginning, as far as it is
            known.

        Raises:
            Called: the user has interrupted; the run is where it was.
            HypercallError: the run did not come back to where it was.
        """
        with self._going_back() as origin:
            end = origin
            for mark in reversed(self._marks):
                if mark.position >= origin:
                    continue
                hit = self._last_hit(mark, end)
                if hit is not None:
                    self._go(mark, hit.position)
                    return hit.stop
                end = mark.position
            self._go_to_beginning()
            return None

    def _place(self) -> Position:
        return self._machine.debugging.position

    @contextmanager
    def _going_back(self) -> Iterator[Position]:
        """Do a search in the past, unheard, and come back to where it began if it fails."""
        machine = self._machine
        start = Snapshot(machine)
        origin = self._place()
        counted = copy.deepcopy(self._calls)
        outputs = list(machine.console.output)
        poll = machine.host_poll
        machine.host_poll = None
        # What belongs to the machine itself takes part in the run.
        machine.console.output[:] = [
            output
            for output in outputs
            if getattr(output, "__self__", None) in (machine.console, machine)
        ]
        try:
            with machine.trace.only(self._calls.count, HypercallEvent):
                yield origin
        except BaseException:
            start.restore()
            self._calls.replace(counted)
            raise
        finally:
            machine.debugging.run_to(None)
            machine.engine.track(())
            machine.host_poll = poll
            machine.console.output[:] = outputs
            start.close()

    def _restore(self, mark: Mark) -> None:
        mark.snapshot.restore()
        self._calls.replace(copy.deepcopy(mark.calls))

    def _run(self) -> StopKind | None:
        """Run on to a stop; None if there is none."""
        result = self._machine.run(until=self._called)
        if result.reason is StopReason.INTERRUPTED:
            # It is for the server, too.
            self._machine.interrupt()
        if result.reason in (StopReason.UNTIL, StopReason.INTERRUPTED):
            raise Called
        stop = self._machine.debugging.stop
        return stop.kind if result.reason is StopReason.DEBUGGER and stop is not None else None

    def _go(self, mark: Mark, target: Position) -> None:
        """Go to an instruction after a snapshot."""
        self._restore(mark)
        if self._place() == target:
            return
        with self._without_points():
            self._machine.debugging.run_to(target)
            kind = self._run()
        self._machine.debugging.run_to(None)
        if kind is not StopKind.TARGET or self._place() != target:
            raise HypercallError(
                "the run went another way than before: was there input that is not kept?"
            )

    def _go_to_beginning(self) -> bool:
        self._restore(self._marks[0])
        return False

    @contextmanager
    def _without_points(self) -> Iterator[None]:
        debugging = self._machine.debugging
        breakpoints, watchpoints = debugging.breakpoints, debugging.watchpoints
        debugging.breakpoints, debugging.watchpoints = frozenset(), ()
        try:
            yield
        finally:
            debugging.breakpoints, debugging.watchpoints = breakpoints, watchpoints

    # --- looking for a place ---------------------------------------------------------------------

    def _instruction_before(
        self, mark: Mark, origin: Position, vp: VirtualProcessor
    ) -> Position | None:
        """The last instruction of a processor between a snapshot and a position."""
        machine, engine = self._machine, self._machine.engine
        contexts = [machine.processors.context(vp, vtl) for vtl in vp.vtls]
        self._restore(mark)
        block = mark.position[0] if machine.debugging.in_block else 0
        if machine.processors.current is not vp:
            block = 0
        with self._without_points():
            engine.track(contexts)
            machine.debugging.run_to(_aim(origin))
            self._run()
            found = engine.previous_block or block
            if (
                self._place()[0] == origin[0]
                and origin[1] != _BETWEEN
                and machine.processors.current is vp
                and engine.previous_instruction
            ):
                return origin[0], engine.previous_instruction
            engine.track(())
            if not found:
                return None
            return self._last_of_block(mark, found, origin, vp)

    def _last_of_block(
        self, mark: Mark, block: int, origin: Position, vp: VirtualProcessor
    ) -> Position | None:
        """The last instruction of a processor in a block, by the count with the block."""
        debugging = self._machine.debugging
        self._restore(mark)
        if mark.position[0] != block:
            debugging.run_to((block, 0))
            self._run()
        debugging.run_to(None)
        last = None
        here = self._place()
        while here[0] == block and here[1] != _BETWEEN and here < origin:
            last = here
            debugging.step(vp)
            if self._run() is not StopKind.STEP:
                break
            here = self._place()
        return last

    def _last_hit(self, mark: Mark, end: Position) -> Hit | None:
        """The last breakpoint or watchpoint that is hit between a snapshot and a position."""
        machine = self._machine
        self._restore(mark)
        machine.debugging.run_to(_aim(end))
        last = None
        while self._run() in (StopKind.BREAKPOINT, StopKind.WATCHPOINT):
            stop = machine.debugging.stop
            assert stop is not None
            position: Position | None = self._place()
            if stop.kind is StopKind.WATCHPOINT:
                position = machine.engine.accessor
            if position is not None and mark.position <= position < end:
                last = Hit(position, stop)
            if self._place() >= _aim(end):
                break
        machine.debugging.run_to(None)
        return last


def _aim(position: Position) -> Position:
    """A position that a run can be let stop at: between blocks, that is in the next one."""
    return (position[0] + 1, 0) if position[1] == _BETWEEN else position
