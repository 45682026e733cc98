"""Signals that end a run: ask the machine politely, so that traces are complete."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


class StopSignals:
    """Notes which signal asked for the end of a run.

    Attributes:
        received: the number of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None

    @contextlib.contextmanager
    def ask(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call ``stop`` on the first SIGINT, SIGTERM or SIGHUP while the block runs.

        A machine stops only between two blocks of guest code, because an engine that is left by
        an exception in the middle of one leaves a broken guest behind. If a second signal comes
        the user insists, and KeyboardInterrupt is raised.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            if self.received is not None:
                raise KeyboardInterrupt
            self.received = number
            stop()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, previous in before.items():
                signal.signal(number, previous)
