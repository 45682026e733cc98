"""The ACPI fixed hardware: power management timer, event and control registers.

Source: ACPI Specification 6.4, sections 4.8.3.1 to 4.8.3.3. The machine is always in ACPI mode,
as there is no SMI command port.
"""

from collections.abc import Callable, Sequence

from hypercall.partition.clock import ReferenceClock

PM1_EVENT_BLOCK = 0x600
PM1_CONTROL_BLOCK = 0x604
TIMER_BLOCK = 0x608
#: The interrupt line of the system control interrupt.
SYSTEM_CONTROL_INTERRUPT = 9
#: The value of SLP_TYP that means S5, soft off; the DSDT tells the guest.
SLEEP_TYPE_OFF = 5

_TIMER_FREQUENCY = 3_579_545
_SECOND_NS = 1_000_000_000
_POWER_BUTTON = 1 << 8
_STATUS_BITS = 0xCF31
_ENABLE_BITS = 0x4721
_SCI_ENABLE = 1
_SLEEP_ENABLE = 1 << 13
_CONTROL_BITS = 0x1C06


class PowerManagement:
    """The registers at 0x600 to 0x60B.

    Args:
        clock: the partition's clock.
        set_irq: drives an interrupt line.
        power_off: called when the guest enters S5.
    """

    widest_access = 4

    def __init__(
        self,
        clock: ReferenceClock,
        set_irq: Callable[[int, bool], None],
        power_off: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._set_irq = set_irq
        self._power_off = power_off
        self._status = 0
        self._enable = 0
        self._control = 0
        self._line = False

    @property
    def ports(self) -> Sequence[range]:
        """Event, control and timer block."""
        return (range(PM1_EVENT_BLOCK, TIMER_BLOCK + 4),)

    def press_power_button(self) -> None:
        """Ask the guest to power itself off."""
        self._status |= _POWER_BUTTON
        self._update()

    def read_port(self, port: int, size: int) -> int:
        """Read part of a register."""
        if port >= TIMER_BLOCK:
            block, base = self._clock.now() * _TIMER_FREQUENCY // _SECOND_NS, TIMER_BLOCK
        elif port >= PM1_CONTROL_BLOCK:
            block, base = self._control | _SCI_ENABLE, PM1_CONTROL_BLOCK
        else:
            block, base = self._enable << 16 | self._status, PM1_EVENT_BLOCK
        block &= 0xFFFF_FFFF
        return block >> 8 * (port - base) & ((1 << 8 * size) - 1)

    def write_port(self, port: int, size: int, value: int) -> None:
        """Write part of a register; status bits are cleared by writing ones."""
        for offset in range(size):
            self._write_byte(port + offset, value >> 8 * offset & 0xFF)
        self._update()

    def _write_byte(self, port: int, value: int) -> None:
        shift = 8 * (port & 1)
        if port < PM1_EVENT_BLOCK + 2:
            self._status &= ~(value << shift & _STATUS_BITS)
        elif port < PM1_CONTROL_BLOCK:
            self._enable = (self._enable & ~(0xFF << shift) | value << shift) & _ENABLE_BITS
        elif port < PM1_CONTROL_BLOCK + 2:
            merged = self._control & ~(0xFF << shift) | value << shift
            self._control = merged & _CONTROL_BITS
            if merged & _SLEEP_ENABLE and merged >> 10 & 7 == SLEEP_TYPE_OFF:
                self._power_off()

    def _update(self) -> None:
        line = bool(self._status & self._enable & _ENABLE_BITS)
        if line != self._line:
            self._line = line
            self._set_irq(SYSTEM_CONTROL_INTERRUPT, line)
