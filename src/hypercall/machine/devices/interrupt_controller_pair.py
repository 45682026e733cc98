"""The two cascaded 8259A interrupt controllers of a PC.

Source: Intel 8259A data sheet. Guests with an I/O APIC mask both and leave them, but read the
masks back to see whether the controllers are there.
"""

from collections.abc import Callable, Sequence

_CASCADE_LINE = 2


class _Controller:
    """One 8259A; ``vector_base`` and the priorities are as the guest programs them."""

    __slots__ = (
        "auto_end",
        "expected_word",
        "level_triggered",
        "lines",
        "lowest",
        "mask",
        "poll",
        "read_service",
        "request",
        "rotate_on_auto_end",
        "service",
        "special_mask",
        "vector_base",
        "wants_fourth",
    )

    def __init__(self) -> None:
        self.level_triggered = 0
        self.lines = 0
        self.mask = 0xFF
        self.vector_base = 0
        self.initialise(0)

    def initialise(self, word: int) -> None:
        """Take the first initialisation command word (ICW1)."""
        # The mask is cleared by ICW1, but nothing may come before the vector base is known.
        self.request = 0
        self.service = 0
        self.lowest = 7
        self.auto_end = False
        self.rotate_on_auto_end = False
        self.special_mask = False
        self.read_service = False
        self.poll = False
        self.wants_fourth = bool(word & 1)
        self.expected_word = 2 if word & 0x10 else 0
        if word & 0x10:
            self.mask = 0

    def set_line(self, line: int, level: bool) -> None:
        """An input changed."""
        bit = 1 << line
        if level:
            if not self.lines & bit:
                self.request |= bit
            self.lines |= bit
        else:
            self.lines &= ~bit
            # An input that drops before it is acknowledged asks for nothing any more; this is what
            # keeps spurious interrupts away.
            self.request &= ~bit

    def pending(self) -> int | None:
        """The line to be served next, or None."""
        if self.expected_word:
            return None
        candidates = (self.request | self.lines & self.level_triggered) & ~self.mask
        if not candidates:
            return None
        for step in range(1, 9):
            line = (self.lowest + step) & 7
            bit = 1 << line
            if self.service & bit and not (self.special_mask and self.mask & bit):
                return None
            if candidates & bit:
                return line
        return None

    def acknowledge(self, line: int) -> None:
        """The processor takes the interrupt of a line."""
        bit = 1 << line
        if not self.level_triggered & bit:
            self.request &= ~bit
        if self.auto_end:
            if self.rotate_on_auto_end:
                self.lowest = line
        else:
            self.service |= bit

    def write_data(self, value: int) -> None:
        """Take a write to the odd port: an initialisation word or the mask."""
        if self.expected_word == 2:
            self.vector_base = value & 0xF8
            self.expected_word = 3
        elif self.expected_word == 3:
            self.expected_word = 4 if self.wants_fourth else 0
        elif self.expected_word == 4:
            self.auto_end = bool(value & 2)
            self.expected_word = 0
        else:
            self.mask = value

    def write_command(self, value: int) -> None:
        """Take a write to the even port."""
        if value & 0x10:
            self.initialise(value)
        elif value & 0x08:
            if value & 0x02:
                self.read_service = bool(value & 1)
            if value & 0x40:
                self.special_mask = bool(value & 0x20)
            self.poll = bool(value & 0x04)
        else:
            self._end(value)

    def _end(self, value: int) -> None:
        command, line = value >> 5, value & 7
        if command in (0, 4):
            self.rotate_on_auto_end = command == 4
        elif command == 6:
            self.lowest = line
        elif command in (1, 5):
            # Not specific: the served line of the highest priority ends.
            for step in range(1, 9):
                served = (self.lowest + step) & 7
                if self.service & 1 << served:
                    self.service &= ~(1 << served)
                    if command == 5:
                        self.lowest = served
                    break
        elif command in (3, 7):
            self.service &= ~(1 << line)
            if command == 7:
                self.lowest = line

    def read_command(self) -> int:
        """The value of the even port."""
        if self.poll:
            self.poll = False
            line = self.pending()
            if line is None:
                return 0
            self.acknowledge(line)
            return 0x80 | line
        return (
            self.service
            if self.read_service
            else self.request | (self.lines & self.level_triggered)
        )


class InterruptControllerPair:
    """Both 8259A: lines 0 to 7 on the first, 8 to 15 on the second, which is on line 2.

    Args:
        set_output: called with the level of the pair's interrupt output whenever it changes; it
            is the ExtINT input of the boot processor.
    """

    widest_access = 1

    def __init__(self, set_output: Callable[[bool], None]) -> None:
        self._set_output = set_output
        self._first = _Controller()
        self._second = _Controller()
        self._output = False

    @property
    def ports(self) -> Sequence[range]:
        """Command and mask of both, and the edge/level registers."""
        return (range(0x20, 0x22), range(0xA0, 0xA2), range(0x4D0, 0x4D2))

    def set_line(self, line: int, level: bool) -> None:
        """An interrupt line 0 to 15 changed; line 2 is not an input."""
        if line >= 8:
            self._second.set_line(line - 8, level)
        elif line != _CASCADE_LINE:
            self._first.set_line(line, level)
        self._update()

    def acknowledge(self) -> int | None:
        """The vector of the interrupt that the processor takes now; None when there is none."""
        line = self._first.pending()
        if line is None:
            return None
        controller = self._first
        if line == _CASCADE_LINE:
            controller = self._second
            inner = controller.pending()
            if inner is None:
                return None
            self._first.acknowledge(line)
            line = inner
        controller.acknowledge(line)
        self._update()
        return controller.vector_base | line

    def read_port(self, port: int, size: int) -> int:
        """Read a register."""
        controller = self._first if port in (0x20, 0x21, 0x4D0) else self._second
        if port >= 0x4D0:
            return controller.level_triggered
        if port & 1:
            return controller.mask
        value = controller.read_command()
        self._update()
        return value

    def write_port(self, port: int, size: int, value: int) -> None:
        """Write a register."""
        controller = self._first if port in (0x20, 0x21, 0x4D0) else self._second
        if port >= 0x4D0:
            # The timer, keyboard, cascade, clock and coprocessor lines are always edge triggered.
            controller.level_triggered = value & (0xF8 if port == 0x4D0 else 0xDE)
        elif port & 1:
            controller.write_data(value)
        else:
            controller.write_command(value)
        self._update()

    def _update(self) -> None:
        # The cascade input follows the second controller's output.
        bit = 1 << _CASCADE_LINE
        if self._second.pending() is not None:
            self._first.request |= bit
        else:
            self._first.request &= ~bit
        output = self._first.pending() is not None
        if output != self._output:
            self._output = output
            self._set_output(output)
