"""The ports of kvm-unit-tests' board test device: interrupt lines by hand, and a latch to echo.

Protocol (QEMU's pc-testdev and kvm-unit-tests x86): a write of any size to port 0x2000 + n drives
interrupt line n high if it is not zero, and low if it is. What is written to the latch at 0xE0 or
0xE8 is read back there. A write to 0xE4 asks the host to make a page anew, which changes nothing
for a guest.
"""

from collections.abc import Callable, Sequence

_LINES = range(0x2000, 0x2010)
_LATCHES = (range(0xE0, 0xE4), range(0xE8, 0xEC))
_FLUSH = range(0xE4, 0xE8)


class BoardTestDevice:
    """Lets a guest drive the board's interrupt lines itself.

    Args:
        set_irq: drives a line high or low.
    """

    widest_access = 4

    def __init__(self, set_irq: Callable[[int, bool], None]) -> None:
        self._set_irq = set_irq
        self._latched = dict.fromkeys((port for ports in _LATCHES for port in ports), 0)

    @property
    def ports(self) -> Sequence[range]:
        """The latches, the flush register and the lines."""
        return (*_LATCHES, _FLUSH, _LINES)

    def read_port(self, port: int, size: int) -> int:
        """What was latched; zero elsewhere."""
        return sum(self._latched.get(port + index, 0) << 8 * index for index in range(size))

    def write_port(self, port: int, size: int, value: int) -> None:
        """Drive a line or latch the value."""
        if port in _LINES:
            self._set_irq(port - _LINES.start, value != 0)
            return
        for index in range(size):
            if port + index in self._latched:
                self._latched[port + index] = value >> 8 * index & 0xFF
