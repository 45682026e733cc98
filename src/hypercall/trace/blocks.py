"""Files in blocks of whole lines, so that a file of any size takes little memory.

All blocks lie in one buffer, one after the other: memory that was just used is much faster than
memory that is asked for anew, which for a scanner is half of the time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

_BLOCK = 1 << 18

ReadInto = Callable[[memoryview], int]
"""Fills a part of a buffer from its start; returns how many bytes, 0 at the end."""


def reads(stream: BinaryIO) -> ReadInto:
    """Return what gives the bytes of a stream; a pipe's as soon as they come."""
    if isinstance(stream, io.BufferedIOBase):
        return stream.readinto1
    # Not everything that can be read can also fill a buffer.
    return pieces(iter(lambda: stream.read(_BLOCK), b""))


def pieces(parts: Iterable[bytes | memoryview]) -> ReadInto:
    """Return what gives the bytes of some parts, one after the other."""
    source = iter(parts)
    left = memoryview(b"")

    def read(room: memoryview) -> int:
        nonlocal left
        while not left:
            part = next(source, None)
            if part is None:
                return 0
            left = memoryview(part)
        count = min(len(left), len(room))
        room[:count] = left[:count]
        left = left[count:]
        return count

    return read


def blocks(read: ReadInto, longest: int, start: bytes = b"") -> Iterator[memoryview | int]:
    """Give blocks that end with the end of a line, or of everything.

    Args:
        read: gives the bytes.
        longest: the most bytes of a line, unless a block holds the whole of it.
        start: what comes before them.

    Yields:
        Blocks, each good until the next; for a line that is longer than ``longest`` its size.
    """
    buffer = bytearray(max(len(start), longest) + _BLOCK)
    view = memoryview(buffer)
    buffer[: len(start)] = start
    held, count, dropped = 0, len(start), 0
    while count or (count := read(view[held : held + _BLOCK])):
        total = held + count
        if dropped:
            begin = buffer.find(b"\n", 0, total) + 1
            if not begin:
                dropped, count = dropped + total, 0
                continue
            yield dropped + begin
            view[: total - begin] = view[begin:total]
            total -= begin
            held, dropped = 0, 0
        end = buffer.rfind(b"\n", held, total) + 1
        if end:
            yield view[:end]
            view[: total - end] = view[end:total]
        held, count = total - end, 0
        if held > longest:
            held, dropped = 0, held
    if held:
        yield view[:held]
    elif dropped:
        yield dropped
