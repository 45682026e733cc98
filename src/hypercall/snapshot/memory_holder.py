"""A copy of this process that does nothing but hold memory as it was."""

import contextlib
import os
import signal
import weakref
from collections.abc import Iterator

from hypercall.errors import HypercallError

_CHUNK = 4 << 20


class MemoryHolder:
    """The memory of this process at one moment, shared with it until either is written to.

    Raises:
        HypercallError: the host cannot make another process.
    """

    def __init__(self) -> None:
        reading, writing = os.pipe()
        try:
            child = os.fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            raise HypercallError(
                f"the host cannot hold a copy of the machine's memory ({error.strerror}): "
                "let go of other snapshots first"
            ) from None
        if child == 0:
            _hold(reading)
        os.close(reading)
        memory = os.open(f"/proc/{child}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._memory = memory
        self._end = weakref.finalize(self, _end, child, os.getpid(), writing, memory)

    def read(self, address: int, length: int) -> Iterator[tuple[int, memoryview]]:
        """Read memory as it was.

        Args:
            address: where, in this process.
            length: how many bytes.

        Yields:
            the offset from `address`, and the bytes from there on, which are good until the next.

        Raises:
            HypercallError: the copy is gone.
        """
        buffer = memoryview(bytearray(min(length, _CHUNK)))
        offset = 0
        while offset < length:
            size = min(len(buffer), length - offset)
            try:
                got = os.preadv(self._memory, [buffer[:size]], address + offset)
            except OSError as error:
                raise HypercallError(
                    f"the memory of a snapshot cannot be read ({error.strerror}); "
                    "was its process ended?"
                ) from None
            if got <= 0:
                raise HypercallError("the process that holds a snapshot's memory was ended")
            yield offset, buffer[:got]
            offset += got

    def close(self) -> None:
        """Let the memory go."""
        self._end()


def _hold(reading: int) -> None:
    """Wait until nobody needs the memory any more, with nothing of the parent's open."""
    try:
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(reading, 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        while os.read(3, 1):
            pass
    finally:
        os._exit(0)


def _end(child: int, parent: int, writing: int, memory: int) -> None:
    os.close(writing)
    os.close(memory)
    if os.getpid() == parent:
        # A copy of this process may still have the other end, so the closing alone is not enough.
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
