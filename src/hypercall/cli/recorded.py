"""Recorded runs of any kind that the commands take, read in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hypercall.cli.inputs import check_input_file, reason_of
from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.trace.description import RunDescription
    from hypercall.trace.events import Event

_SHOWN = 64
_AT_A_TIME = 10_000


class Recorded:
    """A recorded run: JSON lines, a trace of KVM, or a recording, which is run again.

    Iterate over it once. The notes and the damage are complete when the iteration has ended.

    Attributes:
        description: what is known of the run.
        symbol: the name of a guest-virtual address, or None; knows what was read so far.
        notes: sentences on what the recording does not tell.
        damage: where and why it could not be read, in one sentence; None for a whole one.
    """

    def __init__(self, path: Path) -> None:
        """Look at a file.

        Raises:
            InputError: it cannot be read, or is no recording.
        """
        # Not at the top, so that the other commands start quickly.
        from hypercall.recording.recording import is_recording

        check_input_file(path, "trace")
        self.description: RunDescription
        self.symbol: Callable[[int], str | None] = lambda address: None
        self.notes: list[str] = []
        self.damage: str | None = None
        self._path = path
        try:
            with path.open("rb") as stream:
                lines = stream.read(_SHOWN).lstrip().startswith(b"{")
        except OSError as error:
            raise InputError(f"cannot read the trace {path}: {reason_of(error)}") from None
        if lines:
            self._events = self._json_lines()
        elif is_recording(path):
            self._events = self._again()
        else:
            self._events = self._kvm()
        # What opens the file also describes it.
        first = next(self._events, None)
        if first is not None:
            self._events = chain((first,), self._events)

    def __iter__(self) -> Iterator[Event]:
        """Read the events in their order."""
        return self._events

    def write_notes(self, stream: IO[str]) -> None:
        """Write what the recording does not tell, or did not do again, a line each."""
        for note in self.notes:
            stream.write(f"hypercall: note: {note}\n")

    def raise_damage(self) -> None:
        """Tell of the damage, once everything else is done.

        Raises:
            InputError: there is damage.
        """
        if self.damage is not None:
            raise InputError(f"{self._path} {self.damage}")

    def _json_lines(self) -> Iterator[Event]:
        from hypercall.trace.reading import open_trace

        reader = open_trace(self._path)
        self.symbol = reader.symbol
        self.description = reader.description
        yield from reader
        if reader.damages:
            self._damaged(str(reader.damages[0]), reader.damage_count)

    def _again(self) -> Iterator[Event]:
        from hypercall.machine.result import StopReason
        from hypercall.recording.recording import Recording
        from hypercall.trace.kinds import parse_kinds

        recording = Recording.load(self._path)
        machine = recording.machine()
        # What the tour does wrong it does on purpose.
        checked = not recording.is_tour
        self.description = replace(machine.describe(), checks="on" if checked else "off")
        self.symbol = machine.symbol
        waiting: list[Event] = []

        def take(event: Event) -> None:
            waiting.append(event)
            if len(waiting) >= _AT_A_TIME:
                machine.pause()

        machine.trace.subscribe(take, *parse_kinds("all"))
        checks = machine.check() if checked else None
        while True:
            result = machine.run(recording.limit_ns)
            yield from waiting
            waiting.clear()
            if result.reason is not StopReason.PAUSED:
                break
        if checks is not None:
            checks.finish()
        yield from waiting
        difference = recording.difference(result, machine)
        if difference is not None:
            self.notes.append(f"The run is not the recorded one: {difference}.")

    def _kvm(self) -> Iterator[Event]:
        from hypercall.trace.description import RunDescription
        from hypercall.trace.kvm.reader import open_kvm_trace

        self.description = RunDescription(source="kvm", image=self._path.name)
        trace = open_kvm_trace(self._path, "auto")
        yield from trace.events()
        self.notes += trace.notes
        if trace.damaged:
            self._damaged(f"{trace.damage[0].place}: {trace.damage[0].what}", trace.damaged)

    def _damaged(self, first: str, count: int) -> None:
        more = f"; and {count - 1:,} more place{'s' if count > 2 else ''}" if count > 1 else ""
        self.damage = f"is damaged at {first}{more}; what could be read was read"
