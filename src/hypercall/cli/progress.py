"""One line on a terminal that shows that something is going on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import IO

_SECONDS_BETWEEN = 0.1


class Progress:
    """A line on the standard error that is written over and over, and gone at the end.

    Nothing is ever written to a stream that is not a terminal.
    """

    def __init__(
        self,
        stream: IO[str],
        wanted: bool = True,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to ``stream`` if that is wanted and it is a terminal; ``now`` is in seconds."""
        self._stream = stream if wanted and stream.isatty() else None
        self._now = now
        self._started = now()
        self._next = self._started

    def show(self, text: str) -> None:
        """Show what is being done, at once."""
        if self._stream is not None:
            self._write(f"\r\x1b[K{text}")
            self._next = self._now() + _SECONDS_BETWEEN

    def show_run(self, virtual_ns: int, calls: int) -> None:
        """Show how far the guest is, unless that was done a moment ago."""
        if self._stream is not None and self._now() >= self._next:
            self.show(
                f"running: {virtual_ns / 1e9:.2f} s of virtual time"
                f" in {self._now() - self._started:.1f} s, {calls:,} hypercalls"
            )

    def clear(self) -> None:
        """Take the line away for good."""
        if self._stream is not None:
            self._write("\r\x1b[K")
            self._stream = None

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # The terminal is gone; the run matters more than the line.
            self._stream = None
