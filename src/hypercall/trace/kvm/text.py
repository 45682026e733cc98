"""Traces in text, in blocks of whole lines: what tracefs, ``trace-cmd report`` and perf write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from hypercall.trace.kvm.scan import Calls, TextSource
from hypercall.trace.kvm.tracepoints import words

LONGEST_LINE = 1 << 16
"""Bytes; a longer line is damage, and left out, unless a block holds the whole of it."""

_BLOCK = 1 << 20


def reads(stream: BinaryIO) -> Iterator[bytes]:
    """Give what a stream has, part by part; a pipe's as soon as it comes."""
    read = getattr(stream, "read1", stream.read)
    while part := read(_BLOCK):
        yield part


def parts(chunks: Iterable[tuple[int, memoryview | bytes]]) -> Iterator[bytes]:
    """Give chunks of a larger file part by part."""
    for _, chunk in chunks:
        for at in range(0, len(chunk), _BLOCK):
            yield bytes(chunk[at : at + _BLOCK])


def blocks(read: Iterable[bytes]) -> Iterator[bytes | None]:
    """Join parts to blocks that end with the end of a line, or of everything.

    Args:
        read: the parts.

    Yields:
        Blocks; None for a line that is longer than :data:`LONGEST_LINE`.
    """
    held, dropping = b"", False
    for part in read:
        if dropping:
            end = part.find(b"\n")
            if end < 0:
                continue
            part, dropping = part[end + 1 :], False
        end = part.rfind(b"\n")
        if end >= 0:
            yield held + part[: end + 1]
            held = part[end + 1 :]
        else:
            held += part
        if len(held) > LONGEST_LINE:
            yield None
            held, dropping = b"", True
    if held:
        yield held


def looks_like_text(start: bytes) -> bool:
    """Tell whether one of some lines is of a trace.

    Args:
        start: the first bytes of a file.
    """
    if start.startswith((b"# tracer:", b"cpus=")):
        return True
    source = TextSource(words())
    calls = Calls(collect=False)
    source.feed(start[: start.rfind(b"\n") + 1] or start, calls)
    return bool(calls.rows or source.others)
