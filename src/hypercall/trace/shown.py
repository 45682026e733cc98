"""How events are shown to people: the name of each, its values, and a line that says all of it.

Whoever draws, lists or writes events for people takes this from here, and adds where and when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from hypercall.abi.decoder import decode_call
from hypercall.abi.record import CallRecord
from hypercall.tlfs.msrs import msr_name
from hypercall.trace.events import (
    ConsoleEvent,
    CpuidEvent,
    Event,
    FindingEvent,
    HaltEvent,
    InterruptEvent,
    MachineEvent,
    MessageEvent,
    MsrEvent,
    VtlEvent,
)

Values = Sequence[tuple[str, str | int]]
"""Names with their values: numbers, or text as people read it."""

_Kind = TypeVar("_Kind", bound=Event)


@dataclass(frozen=True, slots=True)
class ShownCall:
    """A call as it is shown, apart from where and when it was made.

    Attributes:
        name: the TLFS's name, or ``unknown call 0xbeef``.
        arguments: the fields of the input, in their order.
        outputs: the fields of the output, in their order.
        outcome: a fault, the status and whether it was injected, or that it is continued; may be
            empty.
        line: all of it.
    """

    name: str
    arguments: list[tuple[str, str]]
    outputs: list[tuple[str, str]]
    outcome: str
    line: str


def show_call(record: CallRecord) -> ShownCall:
    """Return how a call is shown."""
    decoded = decode_call(record)
    arguments = [(value.name, value.text) for value in decoded.arguments]
    outputs = [(value.name, value.text) for value in decoded.outputs]
    if record.fault is not None:
        outcome = record.fault
    else:
        outcome = "continued" if record.continued else decoded.status_text
        if record.injected and not record.continued:
            outcome += " (injected)"
    line = f"{decoded.name}({_listed(arguments)}) = {outcome}"
    if outputs:
        line += f" {{{_listed(outputs)}}}"
    return ShownCall(decoded.name, arguments, outputs, outcome, line)


@dataclass(frozen=True, slots=True)
class _Showing:
    """How events of one kind are shown.

    Attributes:
        name: a few words for each; equal events have equal ones.
        values: what else it tells.
        line: all of it.
    """

    name: Callable[[Any], str]
    values: Callable[[Any], Values]
    line: Callable[[Any], str]


def event_name(event: Event) -> str:
    """Return a few words for an event other than a call; many events share them."""
    return _showing_of(event).name(event)


def event_values(event: Event) -> Values:
    """Return what an event other than a call tells beside its name."""
    return _showing_of(event).values(event)


def event_line(event: Event) -> str:
    """Return what an event other than a call tells, as text."""
    return _showing_of(event).line(event)


def _showing_of(event: Event) -> _Showing:
    showing = _SHOWN.get(type(event))
    if showing is None:
        raise TypeError(f"no such event: {event!r}")
    return showing


def _showing(
    kind: type[_Kind],
    *,
    name: Callable[[_Kind], str],
    values: Callable[[_Kind], Values],
    line: Callable[[_Kind], str],
) -> tuple[type, _Showing]:
    return kind, _Showing(name, values, line)


def _listed(values: Values) -> str:
    return ", ".join(f"{name}={text}" for name, text in values)


def _msr_line(event: MsrEvent) -> str:
    name = msr_name(event.index)
    arguments = f"{name}, {event.value:#x}" if event.write else name
    result = "#GP" if event.fault else "ok" if event.write else f"{event.value:#x}"
    return f"{_access(event)}({arguments}) = {result}"


def _access(event: MsrEvent) -> str:
    return "wrmsr" if event.write else "rdmsr"


def _message_values(event: MessageEvent) -> Values:
    values = [("vp", event.target_vp), ("vtl", event.target_vtl), ("sint", event.sint)]
    return values if event.message_type is None else [*values, ("type", f"{event.message_type:#x}")]


def _message_line(event: MessageEvent) -> str:
    kind = event.message_type
    text = "event flag" if kind is None else f"message of type {kind:#x}"
    text += f" to vp{event.target_vp} SINT{event.sint}"
    if event.target_vtl:
        text += f" of VTL{event.target_vtl}"
    return text if event.vector is None else f"{text} (vector {event.vector:#04x})"


def _halt_name(event: HaltEvent) -> str:
    return "halted" if event.halted else "woken"


_SHOWN: Mapping[type, _Showing] = MappingProxyType(
    dict(
        (
            _showing(
                MsrEvent,
                name=lambda event: f"{_access(event)} {msr_name(event.index)}",
                values=lambda event: (
                    ("value", f"{event.value:#x}"),
                    ("result", "#GP" if event.fault else "ok"),
                ),
                line=_msr_line,
            ),
            _showing(
                CpuidEvent,
                name=lambda event: f"cpuid {event.leaf:#x}",
                values=lambda event: (
                    ("subleaf", f"{event.subleaf:#x}"),
                    *(
                        (register, f"{value:#x}")
                        for register, value in zip(
                            ("eax", "ebx", "ecx", "edx"), event.values, strict=True
                        )
                    ),
                ),
                line=lambda event: (
                    f"cpuid({event.leaf:#x}, {event.subleaf:#x}) = "
                    + ", ".join(f"{each:#x}" for each in event.values)
                ),
            ),
            _showing(
                ConsoleEvent,
                name=lambda event: "output",
                values=lambda event: (("text", event.data.decode("utf-8", "replace")),),
                line=lambda event: f"{event.console} {event.data!r}",
            ),
            _showing(
                InterruptEvent,
                name=lambda event: f"interrupt {event.vector:#04x}",
                values=lambda event: (("kind", event.kind),),
                line=lambda event: f"interrupt {event.vector:#04x} ({event.kind})",
            ),
            _showing(
                MessageEvent,
                name=lambda event: "event flag" if event.message_type is None else "message",
                values=_message_values,
                line=_message_line,
            ),
            _showing(HaltEvent, name=_halt_name, values=lambda event: (), line=_halt_name),
            _showing(
                VtlEvent,
                name=lambda event: f"VTL {event.entered}",
                values=lambda event: (("reason", event.reason),),
                line=lambda event: (
                    f"VTL{event.position.vtl} -> VTL{event.entered} ({event.reason})"
                ),
            ),
            _showing(
                MachineEvent,
                name=lambda event: event.kind,
                values=lambda event: (("text", event.text),),
                line=lambda event: f"{event.kind}: {event.text}",
            ),
            _showing(
                FindingEvent,
                name=lambda event: event.rule,
                values=lambda event: (("severity", event.severity), ("text", event.text)),
                line=lambda event: f"{event.severity}: {event.text} ({event.rule})",
            ),
        )
    )
)
