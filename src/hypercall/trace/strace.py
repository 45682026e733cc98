"""The trace as text for people, one line per event, in the manner of strace.

A line has the virtual time in seconds, the virtual processor (with its trust level when that is
not 0), the call with every field by name, what came of it, how long it took in virtual time and
the place in the guest that made it::

   0.123456789 vp1 HvCallSendSyntheticClusterIpi(vector=0xfb, ...) = SUCCESS  <1.2us>  [send+0x1a]
"""

from __future__ import annotations

from collections.abc import Callable

from hypercall.abi.decoder import DecodedCall, decode_call
from hypercall.abi.record import CallRecord
from hypercall.tlfs.msrs import SyntheticMsr
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
    Position,
    VtlEvent,
)
from hypercall.trace.hub import EventKind, TraceHub
from hypercall.trace.kinds import DEFAULT_KINDS
from hypercall.trace.remembered import RememberedTexts


class StraceWriter:
    """Writes events as lines of text."""

    def __init__(self, write: Callable[[str], object], symbol: Callable[[int], str | None]) -> None:
        """Write to a function.

        Args:
            write: called with each line and its line feed.
            symbol: the name of a guest-virtual address, or None.
        """
        self._write = write
        self._symbol = symbol
        self._calls = RememberedTexts(describe_call)

    def attach(self, hub: TraceHub, *kinds: EventKind) -> Callable[[], None]:
        """Write every event of the given kinds, by default :data:`DEFAULT_KINDS`.

        Returns:
            A function that stops it.
        """
        return hub.subscribe(self.write, *(kinds or DEFAULT_KINDS))

    def write(self, event: Event) -> None:
        """Write one event as a line."""
        position = event.position
        if isinstance(event, HypercallEvent):
            record = event.record
            text = (
                f"{self._calls.text(record)}"
                f"  <{_duration(record.left_at - record.entered_at)}>{self._site(position)}"
            )
        else:
            text = describe_event(event)
        self._write(f"{_prefix(position)} {text}\n")

    def _site(self, position: Position) -> str:
        address = position.call_site
        if address is None:
            address = position.rip
        if not address:
            # Traces that were recorded elsewhere may not tell it.
            return ""
        return f"  [{self._symbol(address) or f'{address:#x}'}]"


def describe_call(record: CallRecord) -> str:
    """Return a call, its arguments and what came of it, as text."""
    decoded = decode_call(record)
    arguments = ", ".join(f"{argument.name}={argument.text}" for argument in decoded.arguments)
    text = f"{decoded.name}({arguments}) = {describe_outcome(record, decoded)}"
    if decoded.outputs:
        outputs = ", ".join(f"{value.name}={value.text}" for value in decoded.outputs)
        text += f" {{{outputs}}}"
    return text


def describe_outcome(record: CallRecord, decoded: DecodedCall) -> str:
    """Return what came of a call, as text: a fault, the status, or that it is continued."""
    if record.fault is not None:
        return record.fault
    if record.continued:
        return "continued"
    return decoded.status_text


def _prefix(position: Position) -> str:
    seconds, nanoseconds = divmod(position.time_ns, 1_000_000_000)
    vtl = f".vtl{position.vtl}" if position.vtl else ""
    return f"{seconds:4d}.{nanoseconds:09d} vp{position.vp_index}{vtl}"


def _duration(nanoseconds: int) -> str:
    if nanoseconds < 1000:
        return f"{nanoseconds}ns"
    if nanoseconds < 1_000_000:
        return f"{nanoseconds / 1e3:.1f}us"
    return f"{nanoseconds / 1e6:.3f}ms"


def describe_event(event: Event) -> str:
    """Return what an event other than a call tells, as text."""
    match event:
        case MsrEvent(index=index, value=value, write=write, fault=fault):
            name = msr_name(index)
            arguments = f"{name}, {value:#x}" if write else name
            result = "#GP" if fault else "ok" if write else f"{value:#x}"
            return f"{'wrmsr' if write else 'rdmsr'}({arguments}) = {result}"
        case CpuidEvent(leaf=leaf, subleaf=subleaf, values=values):
            return f"cpuid({leaf:#x}, {subleaf:#x}) = {', '.join(f'{each:#x}' for each in values)}"
        case ConsoleEvent(data=data, console=console):
            return f"{console} {data!r}"
        case InterruptEvent(vector=vector, kind=kind):
            return f"interrupt {vector:#04x} ({kind})"
        case MessageEvent(message_type=None):
            return f"event flag to {_receiver(event)}"
        case MessageEvent(message_type=message_type):
            return f"message of type {message_type:#x} to {_receiver(event)}"
        case HaltEvent(halted=halted):
            return "halted" if halted else "woken"
        case VtlEvent(entered=entered, reason=reason):
            return f"VTL{event.position.vtl} -> VTL{entered} ({reason})"
        case MachineEvent(kind=kind, text=text):
            return f"{kind}: {text}"
        case FindingEvent(rule=rule, severity=severity, text=text):
            return f"{severity}: {text} ({rule})"
        case _:
            raise TypeError(f"no such event: {event!r}")


def _receiver(event: MessageEvent) -> str:
    text = f"vp{event.target_vp} SINT{event.sint}"
    if event.target_vtl:
        text += f" of VTL{event.target_vtl}"
    return text if event.vector is None else f"{text} (vector {event.vector:#04x})"


def msr_name(index: int) -> str:
    """Return the TLFS name of a synthetic MSR, or the number of any other."""
    try:
        return SyntheticMsr(index).name
    except ValueError:
        return f"{index:#x}"
