"""The I/O APIC: 24 lines from the devices to the local APICs of VTL 0."""

from typing import TYPE_CHECKING

from hypercall.partition.interrupt_routing import DeliveryMode, deliver, destinations

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition

BASE_ADDRESS = 0xFEC00000
PIN_COUNT = 24
VERSION = 0x20
"""Version 0x20: it has an EOI register."""

_MASKED = 1 << 16
_LEVEL = 1 << 15
_REMOTE_IRR = 1 << 14
_DELIVERY_STATUS = 1 << 12
_LOGICAL = 1 << 11
_READ_ONLY = _REMOTE_IRR | _DELIVERY_STATUS
_DEFINED = 0xFF00_0000_0001_FFFF

_SELECT, _WINDOW, _EOI = 0x00, 0x10, 0x40
_REGISTER_ID, _REGISTER_VERSION, _REGISTER_ARBITRATION, _FIRST_ENTRY = 0, 1, 2, 0x10


class IoApic:
    """An I/O APIC (Intel 82093AA datasheet; ICH EOI register).

    Creating one makes it the partition's, so that it hears of the end of level interrupts.

    Attributes:
        entries: the redirection entries, 64 bits each.
        lines: bit p set while the device at pin p asserts its line.
        identity: the I/O APIC's id register.
    """

    def __init__(self, partition: "Partition", identity: int = 0) -> None:
        self._partition = partition
        self._select = 0
        self.identity = identity
        self.entries = [_MASKED] * PIN_COUNT
        self.lines = 0
        partition.io_apic = self

    def reset(self) -> None:
        """Mask all pins; the lines stay as the devices drive them."""
        self._select = 0
        self.entries = [_MASKED] * PIN_COUNT

    def set_line(self, pin: int, level: bool) -> None:
        """Drive a device's line.

        Args:
            pin: 0 to 23.
            level: asserted or not; polarity is the guest's matter and has no effect.
        """
        bit = 1 << pin
        was = bool(self.lines & bit)
        self.lines = self.lines | bit if level else self.lines & ~bit
        if level and (not was or self.entries[pin] & _LEVEL):
            self._fire(pin)

    def pulse(self, pin: int) -> None:
        """Assert a line and release it: one edge."""
        self.set_line(pin, True)
        self.set_line(pin, False)

    def end_of_interrupt(self, vector: int) -> None:
        """Hear that a local APIC has ended a level-triggered interrupt; fire again if asserted."""
        for pin, entry in enumerate(self.entries):
            if entry & 0xFF == vector and entry & _REMOTE_IRR:
                self.entries[pin] = entry & ~_REMOTE_IRR
                if self.lines >> pin & 1:
                    self._fire(pin)

    def _fire(self, pin: int) -> None:
        entry = self.entries[pin]
        if entry & _MASKED:
            return
        mode = entry >> 8 & 7
        # Only fixed and lowest-priority delivery can be level-triggered.
        level = bool(entry & _LEVEL) and mode <= DeliveryMode.LOWEST_PRIORITY
        if level:
            if entry & _REMOTE_IRR:
                return
            self.entries[pin] = entry | _REMOTE_IRR
        targets = destinations(
            self._partition, 0, entry >> 56, logical=bool(entry & _LOGICAL), x2apic=False
        )
        deliver(self._partition, targets, mode, entry & 0xFF, level=level)

    def read_mmio(self, offset: int, size: int = 4) -> int:
        """Read from the register page.

        Args:
            offset: from the start of the page.
            size: in bytes.
        """
        if offset == _SELECT:
            value = self._select
        elif offset == _WINDOW:
            value = self._read_register()
        else:
            value = 0
        return value & (1 << size * 8) - 1

    def write_mmio(self, offset: int, value: int, size: int = 4) -> None:
        """Write to the register page; only the register select accepts less than 32 bits."""
        if offset == _SELECT:
            self._select = value & 0xFF
        elif offset == _WINDOW and size >= 4:
            self._write_register(value & 0xFFFFFFFF)
        elif offset == _EOI and size >= 4:
            self.end_of_interrupt(value & 0xFF)

    def _read_register(self) -> int:
        if self._select in (_REGISTER_ID, _REGISTER_ARBITRATION):
            return self.identity << 24
        if self._select == _REGISTER_VERSION:
            return VERSION | (PIN_COUNT - 1) << 16
        pin, high = divmod(self._select - _FIRST_ENTRY, 2)
        if 0 <= pin < PIN_COUNT:
            return self.entries[pin] >> (32 if high else 0) & 0xFFFFFFFF
        return 0

    def _write_register(self, value: int) -> None:
        if self._select == _REGISTER_ID:
            self.identity = value >> 24 & 0xF
            return
        pin, high = divmod(self._select - _FIRST_ENTRY, 2)
        if not 0 <= pin < PIN_COUNT:
            return
        old = self.entries[pin]
        if high:
            new = old & 0xFFFFFFFF | value << 32
        else:
            new = old & ~0xFFFFFFFF | value & ~_READ_ONLY | old & _READ_ONLY
            if not new & _LEVEL:
                new &= ~_REMOTE_IRR
        self.entries[pin] = new & _DEFINED
        # A line that is asserted when a level pin is unmasked has been waiting for that.
        if new & _LEVEL and self.lines >> pin & 1:
            self._fire(pin)
