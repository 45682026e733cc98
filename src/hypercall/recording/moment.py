"""Moments of a run, as users name them: a virtual time, a hypercall, a text on the console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from hypercall.durations import duration_text, parse_duration
from hypercall.errors import InputError
from hypercall.machine.result import RunResult, StopReason
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.control import CODE_MASK
from hypercall.trace.events import Event, HypercallEvent
from hypercall.trace.hub import TraceHub
from hypercall.trace.kinds import EVENT_NAMES

FORMS = "a time such as 1.5s or 20ms, call:N, call:NAME:N, event:KIND:N or console:TEXT"
"""How moments are written."""

_MOST_DIGITS = 18
_LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class TimeMoment:
    """When the virtual time reaches a value.

    Attributes:
        time_ns: the virtual time since the machine was made, in nanoseconds.
    """

    time_ns: int

    def __str__(self) -> str:
        return duration_text(self.time_ns)


@dataclass(frozen=True, slots=True)
class CallMoment:
    """When a hypercall has just been made.

    Attributes:
        number: which one, counted from 1; a continued call counts each time it is issued.
        code: count calls with this code alone; None for all.
    """

    number: int = 1
    code: int | None = None

    def __str__(self) -> str:
        if self.code is None:
            return f"call:{self.number}"
        return f"call:{DECLARATIONS.find(self.code).name}:{self.number}"


@dataclass(frozen=True, slots=True)
class EventMoment:
    """When something else has just happened.

    Attributes:
        kind: the kind of the event, by its name in traces, such as ``vtl`` or ``finding``.
        number: which one, counted from 1.
    """

    kind: str
    number: int = 1

    def __str__(self) -> str:
        return f"event:{self.kind}:{self.number}"


@dataclass(frozen=True, slots=True)
class ConsoleMoment:
    """When the guest has written a text to its console.

    Attributes:
        text: the text, within a line or over several.
    """

    text: bytes

    def __str__(self) -> str:
        return f"console:{self.text.decode('utf-8', 'backslashreplace')}"


WatchedMoment = CallMoment | EventMoment | ConsoleMoment
"""A moment that has to be watched for."""

Moment = TimeMoment | WatchedMoment


def parse_moment(text: str) -> Moment:
    """Turn what a user writes into a moment; ``str()`` of it is read as the same one.

    Raises:
        InputError: the text means none.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "call" and rest:
        return _call_moment(rest)
    if colon and kind == "event" and rest:
        return _event_moment(rest)
    if colon and kind == "console" and rest:
        if len(rest) > _LONGEST_TEXT:
            raise InputError(f"a text of {len(rest)} characters is too long: give a part of it")
        return ConsoleMoment(rest.encode("utf-8", "surrogateescape"))
    time_ns = parse_duration(text)
    if time_ns is None:
        raise InputError(f"{text[:60]!r} is no moment: give {FORMS}")
    return TimeMoment(time_ns)


def _call_moment(text: str) -> CallMoment:
    if _is_number(text):
        return CallMoment(_number(text))
    name, colon, number = text.partition(":")
    return CallMoment(_number(number) if colon else 1, DECLARATIONS.find(name).code)


def _event_moment(text: str) -> EventMoment:
    name, colon, number = text.partition(":")
    names = [*EVENT_NAMES.values()]
    if name not in names:
        raise InputError(
            f"there is no kind of event {name[:30]!r}: give {', '.join(names[:-1])} or {names[-1]}"
        )
    return EventMoment(name, _number(number, "event") if colon else 1)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(text: str, what: str = "call") -> int:
    if not _is_number(text) or len(text) > _MOST_DIGITS or int(text) < 1:
        raise InputError(f"there is no {what} number {text[:30]!r}: the first is number 1")
    return int(text)


class WatchedConsole(Protocol):
    """The console of a machine that is watched."""

    @property
    def output(self) -> list[Callable[[bytes], None]]:
        """Called with every piece of what the guest writes."""


class WatchedMachine(Protocol):
    """A machine that is watched."""

    @property
    def trace(self) -> TraceHub:
        """Where to subscribe to events."""

    @property
    def console(self) -> WatchedConsole:
        """The console."""

    @property
    def time_ns(self) -> int:
        """The virtual time in nanoseconds."""

    def pause(self) -> None:
        """Let the run end before the next block of code."""

    def run(self, limit_ns: int | None = None) -> RunResult:
        """Run until the guest ends, a pause or the limit."""


def run_to_moment(
    machine: WatchedMachine,
    moment: Moment,
    limit_ns: int | None = None,
    run: Callable[[int | None], RunResult] | None = None,
) -> tuple[RunResult, bool]:
    """Run a machine until a moment comes.

    Args:
        machine: the machine.
        moment: the moment; calls, events and texts are counted from now on.
        limit_ns: the virtual time since the machine was made at which to stop before.
        run: runs the machine, in place of its own method.

    Returns:
        How the run ended, and whether the moment has come; then the reason is ``PAUSED``.
    """
    run = run or machine.run
    if isinstance(moment, TimeMoment):
        earlier = limit_ns is not None and limit_ns < moment.time_ns
        result = run(limit_ns if earlier else moment.time_ns)
        # A guest that has panicked by then is said to have done so, but can still go on.
        stopped = result.reason in (StopReason.LIMIT, StopReason.PANIC)
        reached = stopped and machine.time_ns >= moment.time_ns
    else:
        watch = MomentWatch(machine, moment)
        try:
            result = run(limit_ns)
        finally:
            watch.close()
        reached = watch.reached and result.reason is StopReason.PAUSED
    if reached:
        result = replace(result, reason=StopReason.PAUSED, detail=f"at {moment}")
    return result, reached


class MomentWatch:
    """Pauses a machine when a moment has come, counted from now on.

    A time cannot be watched from outside: run the machine to it.

    Args:
        machine: the machine.
        moment: the moment.

    Attributes:
        reached: whether it has come.
    """

    def __init__(self, machine: WatchedMachine, moment: WatchedMoment) -> None:
        self.reached = False
        self._machine = machine
        self._moment = moment
        self._left = 0
        self._seen = b""
        self.close: Callable[[], None]
        """Watch no more."""
        if isinstance(moment, CallMoment):
            self._left = moment.number
            self.close = machine.trace.subscribe(self._called, HypercallEvent)
        elif isinstance(moment, EventMoment):
            self._left = moment.number
            kinds = [kind for kind, name in EVENT_NAMES.items() if name == moment.kind]
            self.close = machine.trace.subscribe(self._happened, *kinds)
        else:
            output = machine.console.output
            output.append(self._wrote)
            self.close = lambda: output.remove(self._wrote)

    def _called(self, event: Event) -> None:
        assert isinstance(event, HypercallEvent)
        assert isinstance(self._moment, CallMoment)
        code = self._moment.code
        if code is None or event.record.control & CODE_MASK == code:
            self._happened(event)

    def _happened(self, event: Event) -> None:
        self._left -= 1
        if self._left == 0:
            self._come()

    def _wrote(self, data: bytes) -> None:
        assert isinstance(self._moment, ConsoleMoment)
        if self.reached:
            return
        text = self._moment.text
        self._seen += data
        if text in self._seen:
            self._come()
        self._seen = self._seen[-len(text) :]

    def _come(self) -> None:
        self.reached = True
        self._machine.pause()
