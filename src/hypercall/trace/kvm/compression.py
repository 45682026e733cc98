"""The compressions of ``trace.dat``: never more bytes come out than were announced."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import zstandard

from hypercall.errors import InputError

Decompress = Callable[[memoryview, int], bytes]
"""Takes compressed bytes and how many they are to become; raises InputError if they do not."""


def decompressor(name: str) -> Decompress:
    """Return the function for a compression.

    Args:
        name: as ``trace.dat`` has it: ``none``, ``zstd`` or ``zlib``.

    Raises:
        InputError: the compression is not known.
    """
    try:
        return {"none": _none, "zstd": _zstd, "zlib": _zlib}[name]
    except KeyError:
        raise InputError(
            f"the compression {name[:20]!r} of this trace.dat is not known; convert it by"
            " `trace-cmd convert --compression zstd`"
        ) from None


def _none(data: memoryview, size: int) -> bytes:
    if len(data) != size:
        raise InputError(f"{len(data)} bytes are stored where {size} are announced")
    return bytes(data)


def _zstd(data: memoryview, size: int) -> bytes:
    try:
        # The stream form stops at the size given, whatever the frame's own head promises.
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as stream:
            unpacked = stream.read(size + 1)
    except (zstandard.ZstdError, MemoryError) as error:
        raise InputError(f"compressed data is damaged: {error}") from None
    return _checked(unpacked, size)


def _zlib(data: memoryview, size: int) -> bytes:
    try:
        unpacked = zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise InputError(f"compressed data is damaged: {error}") from None
    return _checked(unpacked, size)


def _checked(unpacked: bytes, size: int) -> bytes:
    if len(unpacked) != size:
        raise InputError(f"compressed data is not the {size} bytes that are announced")
    return unpacked
