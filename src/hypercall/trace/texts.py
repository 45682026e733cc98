"""Recorded traces as text, without any event for what was shown before.

What is written is byte for byte what `hypercall.trace.strace.StraceWriter` writes of the events. It
is written much faster, since the text of a call is made once for all calls that are equal in the
file; who makes it is the decoder, by the call's declaration, as always.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import BinaryIO

from hypercall.trace.blocks import blocks, reads
from hypercall.trace.events import Event, HypercallEvent
from hypercall.trace.jsonl_scan import LineTexts
from hypercall.trace.reading import LONGEST_LINE, TraceReader
from hypercall.trace.shown import show_call
from hypercall.trace.strace import StraceWriter

# What comes before the call itself in the writer's form, and what must not come again.
_BEFORE = frozenset({"event", "time_ns", "vp", "vtl", "rip", "call_site", "symbol", "duration_ns"})


class LinesToText:
    """A trace of JSON lines as text.

    Iterate over `text` once.

    Attributes:
        reader: what read the lines that were not like an earlier one; it has the damages, and the
            description of the run.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Read a stream.

        Args:
            stream: the trace, opened for bytes; it need not be able to seek.
        """
        self.reader = TraceReader(io.BytesIO())
        self._stream = stream
        self._written: list[str] = []
        self._writer = StraceWriter(self._written.append, self.reader.symbol)

    def text(self) -> Iterator[bytes]:
        """Give the text, part by part.

        Raises:
            InputError: the rest of the trace was written in a newer format.
        """
        lines = LineTexts(self._other, self.reader.symbols)
        for block in blocks(reads(self._stream), LONGEST_LINE):
            if isinstance(block, int):
                lines.skip(block)
                self.reader.leave_out(lines.line, lines.offset - block)
            else:
                yield lines.feed(block)

    def _other(
        self, number: int, offset: int, line: bytes, call_at: int
    ) -> tuple[bytes, bytes | None]:
        """Return the text of a line, and the text of its call where that follows from its bytes."""
        if len(line) > LONGEST_LINE or (len(line) == LONGEST_LINE and not line.endswith(b"\n")):
            self.reader.leave_out(number, offset)
            return b"", None
        event = self.reader.read_line(number, offset, line)
        if event is None:
            return b"", None
        call = None
        if call_at >= 0 and isinstance(event, HypercallEvent) and _stands_alone(line[call_at:]):
            call = _encoded(show_call(event.record).line)
        return self._line(event), call

    def _line(self, event: Event) -> bytes:
        self._writer.write(event)
        return _encoded(self._written.pop())


def _stands_alone(call: bytes) -> bool:
    """Tell whether what a line says of a call says nothing else, such as another time."""
    names = [name for name, _ in json.loads(b"{" + call[1:], object_pairs_hook=list)]
    return len(set(names)) == len(names) and _BEFORE.isdisjoint(names)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
