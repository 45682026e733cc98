"""Files in blocks of whole lines, so that a file of any size takes little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

_BLOCK = 1 << 20


def reads(stream: BinaryIO) -> Iterator[bytes]:
    """Give what a stream has, part by part; a pipe's as soon as it comes."""
    read = getattr(stream, "read1", stream.read)
    while part := read(_BLOCK):
        yield part


def blocks(read: Iterable[bytes], longest: int) -> Iterator[bytes | None]:
    """Join parts to blocks that end with the end of a line, or of everything.

    Args:
        read: the parts.
        longest: the most bytes of a line, unless a block holds the whole of it.

    Yields:
        Blocks; None for a line that is longer than ``longest``.
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
        if len(held) > longest:
            yield None
            held, dropping = b"", True
    if held:
        yield held
