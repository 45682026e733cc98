"""The exit port 0xF4, with which test guests end the machine and tell their result."""

from collections.abc import Callable, Sequence


class DebugExit:
    """Ends the machine when the guest writes to it.

    Args:
        exit: called with the value that was written.
    """

    widest_access = 4

    def __init__(self, exit: Callable[[int], None], *, base: int = 0xF4) -> None:
        self._exit = exit
        self._base = base

    @staticmethod
    def process_status(value: int) -> int:
        """The exit status that QEMU's isa-debug-exit gives its process for a written value."""
        return (value << 1 | 1) & 0xFF

    @property
    def ports(self) -> Sequence[range]:
        """Four ports, so that one access of 4 bytes fits."""
        return (range(self._base, self._base + 4),)

    def read_port(self, port: int, size: int) -> int:
        """Read zero."""
        return 0

    def write_port(self, port: int, size: int, value: int) -> None:
        """End the machine."""
        self._exit(value)
