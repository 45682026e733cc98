"""The trace as text for people, one line per event, in the manner of strace.

A line has the virtual time in seconds, the virtual processor (with its trust level when that is
not 0), the call with every field by name, what came of it, how long it took in virtual time and
the place in the guest that made it::

   0.123456789 vp1 HvCallSendSyntheticClusterIpi(vector=0xfb, ...) = SUCCESS  <1.2us>  [send+0x1a]
"""

from __future__ import annotations

from collections.abc import Callable

from hypercall.trace.events import Event, HypercallEvent, Position
from hypercall.trace.hub import EventKind, TraceHub
from hypercall.trace.kinds import DEFAULT_KINDS
from hypercall.trace.remembered import Remembered
from hypercall.trace.shown import event_line, show_call


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
        self._calls = Remembered(show_call)

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
                f"{self._calls.of(record).line}"
                f"  <{_duration(record.left_at - record.entered_at)}>{self._site(position)}"
            )
        else:
            text = event_line(event)
        self._write(f"{_prefix(position)} {text}\n")

    def _site(self, position: Position) -> str:
        address = position.call_site
        if address is None:
            address = position.rip
        if not address:
            # Traces that were recorded elsewhere may not tell it.
            return ""
        return f"  [{self._symbol(address) or f'{address:#x}'}]"


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
