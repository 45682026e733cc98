"""The ports of kvm-unit-tests' board test device: interrupt lines by hand, latches, slow memory.

Protocol (QEMU's pc-testdev and kvm-unit-tests x86): a write of any size to port 0x2000 + n drives
interrupt line n high if it is not zero, and low if it is. What is written to the latch at 0xE0 or
0xE8 is read back there. A write to 0xE4 asks the host to make a page anew, which changes nothing
for a guest. 64 KiB at 0xFF000000 keep what is written, but each access reaches the device.
"""

from collections.abc import Callable, Sequence

_LINES = range(0x2000, 0x2010)
_LATCHES = (range(0xE0, 0xE4), range(0xE8, 0xEC))
TEST_MEMORY = range(0xFF000000, 0xFF010000)
"""Guest-physical addresses of the memory whose accesses reach the device."""
_FLUSH = range(0xE4, 0xE8)


class BoardTestDevice:
    """Lets a guest drive the board's interrupt lines itself.

    Args:
        set_irq: drives a line high or low.
    """

    widest_access = 4

    def __init__(self, set_irq: Callable[[int, bool], None]) -> None:
        self._set_irq = set_irq
        self._memory = bytearray(len(TEST_MEMORY))
        self._latched = dict.fromkeys((port for ports in _LATCHES for port in ports), 0)

    @property
    def ports(self) -> Sequence[range]:
        """The latches, the flush register and the lines."""
        return (*_LATCHES, _FLUSH, _LINES)

    @property
    def regions(self) -> Sequence[range]:
        """The memory."""
        return (TEST_MEMORY,)

    def read_memory(self, gpa: int, size: int) -> int:
        """What was written last."""
        start = gpa - TEST_MEMORY.start
        return int.from_bytes(self._memory[start : start + size], "little")

    def write_memory(self, gpa: int, size: int, value: int) -> None:
        """Keep the value."""
        start = gpa - TEST_MEMORY.start
        self._memory[start : start + size] = value.to_bytes(size, "little")

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
