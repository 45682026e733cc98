"""The user's end of the first serial port."""

from collections.abc import Callable
from typing import ClassVar

from hypercall.machine.devices.serial import Serial

_PANIC = b"Kernel panic - not syncing"
_LONGEST_LINE = 4096


def panic_line(log: str) -> str | None:
    """Return what a kernel's log says of its panic, or None if it does not.

    It is the line with which Linux panics, which other kernels need not have: of those it is the
    last one with the word. What follows the line may have the word too, as names of functions.
    """
    lines = log.splitlines()
    for line in lines:
        start = line.find(_PANIC.decode())
        if start >= 0:
            return line[start:].removesuffix(" ]---").strip()
    said = [line.strip() for line in lines if "panic" in line.lower()]
    return said[-1] if said else None


class Console:
    """What the guest writes to its first serial port, and what it receives there.

    Args:
        serial: the port.

    Attributes:
        output: called with every piece of output.
        on_input: called with what the guest's port gets, when it gets it.
        panic: the line with which a Linux kernel said that it panicked, or None.
    """

    not_state: ClassVar[tuple[str, ...]] = ("on_input", "output")

    def __init__(self, serial: Serial) -> None:
        self._serial = serial
        self._line = b""
        self._fed = b""
        self.on_input: Callable[[bytes], None] | None = None
        self.panic: str | None = None
        self.output: list[Callable[[bytes], None]] = serial.sinks
        self.output.append(self._watch)

    def feed(self, data: bytes) -> None:
        """Let the guest receive bytes, as soon as it can take them.

        While code runs, they reach the port when the turn of the processor is over.
        """
        self._fed += data

    def deliver(self) -> None:
        """Hand the port what was fed."""
        if self._fed:
            data, self._fed = self._fed, b""
            if self.on_input is not None:
                self.on_input(data)
            self._serial.feed(data)

    def flush(self) -> None:
        """Hand on what the guest has written of an unfinished line.

        `Machine.run` does so where the guest has ended, not where it can go on.
        """
        self._serial.flush()

    def _watch(self, data: bytes) -> None:
        if self.panic is not None:
            return
        self._line = (self._line + data)[-_LONGEST_LINE:]
        start = self._line.find(_PANIC)
        if start >= 0 and (end := self._line.find(b"\n", start)) >= 0:
            self.panic = self._line[start:end].decode("ascii", "replace").strip()
        elif start < 0:
            self._line = self._line.rpartition(b"\n")[2]
