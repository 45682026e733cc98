"""The guest's serial console on the user's terminal: raw input, escape keys, restored after."""

from __future__ import annotations

import contextlib
import math
import os
import select
import stat
import sys
import termios
import time
from collections.abc import Callable, Iterator

_CONTROL_A = 0x01
_LONGEST_READ = 4096
# select() refuses times that no clock can hold.
_LONGEST_WAIT = 3600.0

KEYS = (
    "Ctrl-A x  stop the guest and leave",
    "Ctrl-A h  show this help",
    "Ctrl-A Ctrl-A  send Ctrl-A to the guest",
)
"""The keys that do not go to the guest, one line each."""


class EscapeKeys:
    """Takes the keys that are for the command itself out of what the user types.

    Attributes:
        quit_wanted: whether the user has asked to stop.
    """

    def __init__(self, show_help: Callable[[], None]) -> None:
        """Call ``show_help`` when the user asks for it."""
        self.quit_wanted = False
        self._show_help = show_help
        self._escaped = False

    def filter(self, typed: bytes) -> bytes:
        """Return the part of what was typed that is for the guest.

        An escape may be split over two calls. What follows a wish to quit is dropped.
        """
        if _CONTROL_A not in typed and not self._escaped:
            return typed
        passed = bytearray()
        for key in typed:
            if not self._escaped:
                if key == _CONTROL_A:
                    self._escaped = True
                else:
                    passed.append(key)
                continue
            self._escaped = False
            if key == _CONTROL_A:
                passed.append(key)
            elif key in b"xX":
                self.quit_wanted = True
                break
            elif key in b"hH?":
                self._show_help()
        return bytes(passed)


@contextlib.contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Let every key of a terminal through, unechoed, and restore the terminal at the end.

    Output processing stays on, so that lines on the standard error look right meanwhile.

    Args:
        descriptor: the terminal's file descriptor; anything else is left alone.
    """
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    raw = termios.tcgetattr(descriptor)
    raw[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR | termios.ISTRIP | termios.IXON)
    raw[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
    raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
    try:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, raw)
        yield
    finally:
        # The terminal may be gone by now (a closed window): then there is nothing to restore.
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class ConsoleInput:
    """Moves what arrives on a descriptor to the guest, when the machine has a moment for it.

    Attributes:
        interactive: whether somebody sits at a terminal: then keys may be for the command itself.
    """

    def __init__(
        self, descriptor: int | None, feed: Callable[[bytes], None], stop: Callable[[], None]
    ) -> None:
        """Move input.

        Args:
            descriptor: where it arrives; None if nothing ever will.
            feed: takes what is for the guest.
            stop: called when the user wants to leave.
        """
        self.interactive = descriptor is not None and os.isatty(descriptor)
        self._descriptor = descriptor
        self._feed = feed
        self._stop = stop
        self._stopped = False
        self._keys = EscapeKeys(show_keys)
        # A signal handler cannot end a wait in select() but through a descriptor.
        self._wake_reader, self._wake_writer = os.pipe()

    def close(self) -> None:
        """Give back what was needed for :meth:`wake`; nothing may be called afterwards."""
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def wake(self) -> None:
        """End a wait in :meth:`poll` and all later ones; may be called by a signal handler."""
        if not self._stopped:
            self._stopped = True
            os.write(self._wake_writer, b"x")

    def feed_file(self) -> None:
        """If the input is a file, give all of it to the guest now, so that runs can be repeated."""
        if self._descriptor is None or not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            return
        while data := self._read():
            self._feed(data)
        self._descriptor = None

    def poll(self, seconds: float = 0.0) -> bool:
        """Pass on what has arrived; if nothing has, wait for it up to so many seconds.

        Args:
            seconds: how long to wait; infinity is allowed, but ends at once when no more input
                can come.

        Returns:
            Whether the guest got anything.
        """
        ends_at = time.monotonic() + seconds
        while not self._stopped and not (self._descriptor is None and math.isinf(seconds)):
            left = max(0.0, ends_at - time.monotonic())
            watched = [self._wake_reader]
            if self._descriptor is not None:
                watched.append(self._descriptor)
            ready, _, _ = select.select(watched, [], [], min(left, _LONGEST_WAIT))
            if self._descriptor in ready:
                data = self._read()
                if not data:
                    self._descriptor = None
                elif self._pass(data):
                    return True
            elif not left:
                return False
        return False

    def _read(self) -> bytes:
        assert self._descriptor is not None
        try:
            return os.read(self._descriptor, _LONGEST_READ)
        except OSError:
            # A terminal that was hung up, or a descriptor that cannot be read.
            return b""

    def _pass(self, data: bytes) -> bool:
        if self.interactive:
            data = self._keys.filter(data)
            if self._keys.quit_wanted:
                self._stopped = True
                self._stop()
        if data:
            self._feed(data)
        return bool(data)


def show_keys() -> None:
    """Write the keys that do not go to the guest to the standard error."""
    sys.stderr.write("\n" + "".join(f"{line}\n" for line in KEYS))
    sys.stderr.flush()
