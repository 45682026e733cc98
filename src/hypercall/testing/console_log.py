"""What a guest wrote to its console since somebody began to listen."""

from __future__ import annotations

import re

_MOST = 16 << 20


class ConsoleLog:
    """The console of a guest, the latest 16 MiB of it.

    Attributes:
        end: how many bytes came in all.
    """

    def __init__(self) -> None:
        self.end = 0
        self._data = bytearray()

    def append(self, data: bytes) -> None:
        """Take what the guest wrote; an output of `Console`."""
        self._data += data
        self.end += len(data)
        if len(self._data) > 2 * _MOST:
            del self._data[:-_MOST]

    def since(self, offset: int) -> bytes:
        """Return what came from an offset on."""
        start = offset - (self.end - len(self._data))
        return bytes(self._data[max(0, start) :])

    def search(self, pattern: re.Pattern[bytes], offset: int) -> tuple[re.Match[bytes], int] | None:
        """Find the first match from an offset on, and the offset behind it."""
        first = self.end - len(self._data)
        found = pattern.search(self._data, max(0, offset - first))
        return None if found is None else (found, first + found.end())

    @property
    def text(self) -> str:
        """All of it as text, with plain line feeds."""
        return console_text(bytes(self._data))


def console_text(data: bytes) -> str:
    """Turn what a guest wrote into text: plain line feeds, and no questions to a terminal."""
    data = data.replace(b"\r\n", b"\n").replace(b"\x1b[6n", b"")
    return data.decode("utf-8", "replace")
