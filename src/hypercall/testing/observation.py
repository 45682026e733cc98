"""What the report of a failing test shows of its guest: ends of trace and console, processors."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hypercall.machine.processor_text import processor_text
from hypercall.testing.console_log import ConsoleLog, console_text
from hypercall.trace.events import Event
from hypercall.trace.kinds import DEFAULT_KINDS
from hypercall.trace.last_seen import LastSeen
from hypercall.trace.strace import StraceWriter

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine

_CONSOLE_BYTES = 64 << 10

Section = tuple[str, str]
"""The title and the text of a section of a report."""


class Observation:
    """Follows a machine, and keeps what a report may need.

    Args:
        machine: the machine.
        lines: how many lines of the trace and of the console a report has at most.
    """

    def __init__(self, machine: Machine, lines: int) -> None:
        self._machine = machine
        self._lines = lines
        self._events: deque[Event] = deque(maxlen=lines)
        self._count = 0
        self._console = ConsoleLog()
        self._end = machine.trace.subscribe(self._record, *DEFAULT_KINDS)
        self._last_seen = LastSeen()
        self._end_last_seen = self._last_seen.attach(machine.trace)
        machine.console.output.append(self._console.append)

    def sections(self) -> tuple[Section, ...]:
        """The sections of a report; those without a text are left out."""
        sections: list[Section] = []
        console = self._console.since(max(0, self._console.end - _CONSOLE_BYTES))
        lines = console_text(console).splitlines()
        if lines and self._lines:
            sections.append((_title("console", len(lines), self._lines), _tail(lines, self._lines)))
        if self._events:
            written: list[str] = []
            writer = StraceWriter(written.append, self._machine.symbol)
            for event in self._events:
                writer.write(event)
            sections.append((_title("trace", self._count, self._lines), "".join(written)))
        states = self._machine.processor_states()
        text = processor_text(states, self._last_seen, self._machine.symbol)
        sections.append(("virtual processors", text))
        return tuple(sections)

    def close(self) -> None:
        """Follow no more."""
        self._end()
        self._end_last_seen()
        if self._console.append in self._machine.console.output:
            self._machine.console.output.remove(self._console.append)

    def _record(self, event: Event) -> None:
        self._events.append(event)
        self._count += 1


def _title(what: str, count: int, most: int) -> str:
    shown = f", the last {most} of {count} lines" if count > most else ""
    return f"{what}{shown}"


def _tail(lines: list[str], most: int) -> str:
    return "\n".join(lines[-most:]) + "\n"
