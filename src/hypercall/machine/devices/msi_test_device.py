"""A device whose interrupts a guest can retarget by hypercall, for guests that try that call.

Registers of 32 bits, little-endian: at the base the number of the interrupt that the others are
about, at base + 4 the address of its message, at base + 8 the message's data, at base + 12 the
device id. A write of any value to base + 4 sends the interrupt.
"""

from collections.abc import Sequence

from hypercall.partition.device_interrupts import InterruptEntry
from hypercall.partition.partition import Partition

BASE = 0x3010
"""The first port."""
DEVICE_ID = 0x0001_0000
"""The id by which HvCallRetargetDeviceInterrupt names the device."""
INTERRUPT_COUNT = 4
FIRST_VECTOR = 0xE0
"""Interrupt n has this vector plus n, and goes to the boot processor, until it is retargeted."""

_NUMBER, _MESSAGE_ADDRESS, _MESSAGE_DATA, _DEVICE_ID = range(BASE, BASE + 16, 4)


class MsiTestDevice:
    """The device; accesses that are not of 4 bytes at a register read as zero and do nothing.

    Args:
        partition: whose processors its interrupts go to.
    """

    widest_access = 4

    def __init__(self, partition: Partition) -> None:
        self._interrupts = partition.device_interrupts
        self._number = 0
        target = partition.bootstrap.index
        self._interrupts.add_device(
            DEVICE_ID,
            [
                InterruptEntry(FIRST_VECTOR + number, False, (target,))
                for number in range(INTERRUPT_COUNT)
            ],
        )

    @property
    def ports(self) -> Sequence[range]:
        """Four registers of 32 bits."""
        return (range(BASE, BASE + 16),)

    def read_port(self, port: int, size: int) -> int:
        """Read a register."""
        if size != 4:
            return 0
        address, data = self._interrupts.message(self._number)
        registers = {
            _NUMBER: self._number,
            _MESSAGE_ADDRESS: address,
            _MESSAGE_DATA: data,
            _DEVICE_ID: DEVICE_ID,
        }
        return registers.get(port, 0)

    def write_port(self, port: int, size: int, value: int) -> None:
        """Choose an interrupt, or send the chosen one."""
        if size != 4:
            return
        if port == _NUMBER:
            self._number = value % INTERRUPT_COUNT
        elif port == _MESSAGE_ADDRESS:
            self._interrupts.signal(DEVICE_ID, self._number)
