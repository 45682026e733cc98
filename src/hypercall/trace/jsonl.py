"""The trace as JSON lines for programs: one object per event, the same bytes for the same run.

The first line tells of the trace itself: the version of the format, and what ran. Every other
object starts with ``event``, ``time_ns``, ``vp``, ``vtl`` and ``rip``. Numbers that may have 64
bits (addresses, control words, results, register values) are hexadecimal strings, because many
readers of JSON round large numbers; times, counts and indexes are numbers. What
:mod:`hypercall.trace.reading` has no use for is there for people and other programs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypercall.abi.decoder import decode_call
from hypercall.abi.record import CallRecord
from hypercall.tlfs.msrs import msr_name
from hypercall.tlfs.status import status_text
from hypercall.trace.description import RunDescription
from hypercall.trace.events import (
    ConsoleEvent,
    CpuidEvent,
    Event,
    FindingEvent,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MessageEvent,
    MsrEvent,
    VtlEvent,
)
from hypercall.trace.hub import EventKind, TraceHub
from hypercall.trace.kinds import DEFAULT_KINDS, EVENT_NAMES
from hypercall.trace.remembered import Remembered

FORMAT_VERSION = 1
"""Raised when a reader of the older format would misunderstand a line."""

FIRST_LINE = "trace"
"""What stands for ``event`` in the line that tells of the trace."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


class JsonLinesWriter:
    """Writes events as lines of JSON."""

    def __init__(
        self,
        write: Callable[[str], object],
        symbol: Callable[[int], str | None],
        description: RunDescription | None = None,
    ) -> None:
        """Write to a function.

        Args:
            write: called with each line and its line feed.
            symbol: the name of a guest-virtual address, or None.
            description: what runs; the first line tells it.
        """
        self._write = write
        self._symbol = symbol
        self._description = description or RunDescription()
        self._calls = Remembered(_describe_call)

    def attach(self, hub: TraceHub, *kinds: EventKind) -> Callable[[], None]:
        """Write the first line, and every event of the given kinds from now on.

        Args:
            hub: tells of the events.
            kinds: by default those that strace text shows too.

        Returns:
            A function that stops it.
        """
        self.begin()
        return hub.subscribe(self.write, *(kinds or DEFAULT_KINDS))

    def begin(self) -> None:
        """Write the first line."""
        start = {"event": FIRST_LINE, "version": FORMAT_VERSION}
        self._write(_encode(start | self._description.as_dictionary()) + "\n")

    def write(self, event: Event) -> None:
        """Write one event as a line; its keys are always in the same order."""
        position = event.position
        start = {
            "event": EVENT_NAMES[type(event)],
            "time_ns": position.time_ns,
            "vp": position.vp_index,
            "vtl": position.vtl,
            "rip": f"{position.rip:#x}",
        }
        if isinstance(event, HypercallEvent):
            site, record = position.call_site, event.record
            start["call_site"] = None if site is None else f"{site:#x}"
            start["symbol"] = None if site is None else self._symbol(site)
            start["duration_ns"] = record.left_at - record.entered_at
            self._write(f"{_encode(start)[:-1]},{self._calls.of(record)[1:]}\n")
            return
        if isinstance(event, FindingEvent):
            site = position.place
            start["call_site"] = None if position.call_site is None else f"{site:#x}"
            start["symbol"] = self._symbol(site)
        self._write(_encode(start | _details(event)) + "\n")


def _details(event: Event) -> dict[str, Any]:
    match event:
        case MsrEvent(index=index, value=value, write=write, fault=fault):
            return {
                "index": f"{index:#x}",
                "name": msr_name(index),
                "access": "write" if write else "read",
                "value": f"{value:#x}",
                "fault": fault,
            }
        case CpuidEvent(leaf=leaf, subleaf=subleaf, values=values):
            return {
                "leaf": f"{leaf:#x}",
                "subleaf": f"{subleaf:#x}",
                "values": [f"{value:#x}" for value in values],
            }
        case ConsoleEvent(data=data, console=console):
            return {
                "console": console,
                "text": data.decode("utf-8", "replace"),
                "data": data.hex(),
            }
        case InterruptEvent(vector=vector, kind=kind):
            return {"vector": vector, "kind": kind}
        case MessageEvent():
            return {
                "target_vp": event.target_vp,
                "target_vtl": event.target_vtl,
                "sint": event.sint,
                "vector": event.vector,
                "message_type": None if event.message_type is None else f"{event.message_type:#x}",
            }
        case HaltEvent(halted=halted):
            return {"halted": halted}
        case VtlEvent(entered=entered, reason=reason):
            return {"entered": entered, "reason": reason}
        case MachineEvent(kind=kind, text=text):
            return {"kind": kind, "text": text}
        case FindingEvent(rule=rule, severity=severity, text=text):
            found: dict[str, Any] = {"rule": rule, "severity": severity, "text": text}
            if event.code:
                found["code"] = event.code.hex()
                found["code_address"] = f"{event.code_address:#x}"
                found["bits"] = event.bits
            return found
        case _:
            raise TypeError(f"no such event: {event!r}")


def _describe_call(record: CallRecord) -> str:
    """Return a JSON object of what a call asked and was answered."""
    decoded = decode_call(record)
    result = record.result if not record.continued else None
    return _encode(
        {
            "call": decoded.name,
            "code": decoded.code,
            "control": f"{record.control:#x}",
            "fast": record.fast,
            "input_register": f"{record.input_register:#x}",
            "output_register": f"{record.output_register:#x}",
            "arguments": {argument.name: argument.text for argument in decoded.arguments},
            "outputs": {value.name: value.text for value in decoded.outputs},
            **({"unknown": record.unknown} if record.unknown else {}),
            "status": None if result is None else status_text(result & 0xFFFF),
            "result": None if result is None else f"{result:#x}",
            "reps_completed": 0 if result is None else decoded.reps_completed,
            "continued": record.continued,
            **({"injected": True} if record.injected else {}),
            "fault": record.fault,
            "input": record.input.hex(),
            "output": record.output.hex(),
        }
    )
