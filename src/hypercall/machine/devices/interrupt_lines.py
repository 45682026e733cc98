"""The interrupt lines 0 to 15 of the board, each of which ends at both interrupt controllers."""

from typing import Protocol

# The MADT's interrupt source override tells the guest the same.
_TIMER_PIN = 2


class LineInput(Protocol):
    """An interrupt controller with numbered inputs."""

    def set_line(self, line: int, level: bool, /) -> None:
        """An input changed."""
        ...


class InterruptLines:
    """Connects device interrupts to the 8259A pair and to the I/O APIC.

    Line 0, the timer's, is on pin 2 of the I/O APIC; every other line is on its own pin.
    """

    def __init__(self, pair: LineInput, io_apic: LineInput) -> None:
        self._pair = pair
        self._io_apic = io_apic

    def set_irq(self, line: int, level: bool) -> None:
        """A device drives its line (0 to 15, without 2) high or low."""
        self._io_apic.set_line(_TIMER_PIN if line == 0 else line, level)
        self._pair.set_line(line, level)
