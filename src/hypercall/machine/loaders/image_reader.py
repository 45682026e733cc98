"""Reads fields of an image so that whatever is missing is one clear line, not a traceback."""

import struct
from typing import Any

from hypercall.errors import InputError


class ImageReader:
    """Bounds-checked access to the bytes of an image.

    Attributes:
        data: the whole image.
        name: what to call it in error messages.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name

    def fail(self, problem: str) -> InputError:
        """The error that says what is wrong with this image; the caller raises it."""
        return InputError(f"{self.name}: {problem}")

    def bytes_at(self, offset: int, length: int, what: str) -> bytes:
        """The ``length`` bytes at ``offset``.

        Raises:
            InputError: the image ends before.
        """
        if offset < 0 or length < 0 or offset + length > len(self.data):
            raise self.fail(
                f"truncated: {what} would end at byte {offset + length}, "
                f"but the file has only {len(self.data)} bytes; get it again"
            )
        return self.data[offset : offset + length]

    def unpack(self, layout: str, offset: int, what: str) -> tuple[Any, ...]:
        """The fields of a little-endian ``struct`` layout at ``offset``.

        Raises:
            InputError: the image ends before.
        """
        layout = "<" + layout
        return struct.unpack(layout, self.bytes_at(offset, struct.calcsize(layout), what))
