"""The 16550A serial port, which is the guest's console.

Source: National Semiconductor PC16550D data sheet. Sending takes no time, so the transmitter is
always empty; receiving runs at the pace of 115,200 baud in virtual time, so that a long input
does not overrun the guest.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar

from hypercall.partition.clock import ReferenceClock
from hypercall.partition.timers import TimerHandle, TimerQueue

_FIFO_SIZE = 16
_CHARACTER_NS = 86_806
# Output that does not end in a newline, as prompts do not, is given out after this time.
_FLUSH_NS = 20_000_000
_FLUSH_BYTES = 4096

_IER_RECEIVED, _IER_TRANSMIT_EMPTY, _IER_LINE, _IER_MODEM = 1, 2, 4, 8
_IIR_NONE, _IIR_MODEM, _IIR_TRANSMIT_EMPTY, _IIR_RECEIVED, _IIR_LINE = 1, 0, 2, 4, 6
_IIR_TIMEOUT = 0x0C
_IIR_FIFO = 0xC0
_FCR_ENABLE, _FCR_CLEAR_RECEIVER, _FCR_TRIGGER = 1, 2, 0xC0
_LCR_DIVISOR_LATCH = 0x80
_MCR_OUT2, _MCR_LOOP = 0x08, 0x10
_LSR_DATA_READY, _LSR_OVERRUN, _LSR_ERRORS, _LSR_TRANSMITTER_EMPTY = 0x01, 0x02, 0x1E, 0x60
_MSR_CONNECTED = 0xB0
_TRIGGER_LEVELS = (1, 4, 8, 14)


class Serial:
    """A 16550A with its line connected to the user.

    Attributes:
        sinks: called with each piece of output, a line as a rule.
        irq: the interrupt line, 4 for the first port.
    """

    widest_access = 1
    not_state: ClassVar[tuple[str, ...]] = ("sinks",)

    def __init__(
        self,
        clock: ReferenceClock,
        timers: TimerQueue,
        set_irq: Callable[[int, bool], None],
        *,
        base: int = 0x3F8,
        irq: int = 4,
    ) -> None:
        self.sinks: list[Callable[[bytes], None]] = []
        self.irq = irq
        self._clock = clock
        self._timers = timers
        self._set_irq = set_irq
        self._base = base
        self._output = bytearray()
        self._flush_timer: TimerHandle | None = None
        self._input: deque[int] = deque()
        self._receive_timer: TimerHandle | None = None
        self._receive_at = 0
        self._line = False
        self.reset()

    @property
    def ports(self) -> Sequence[range]:
        """The eight registers."""
        return (range(self._base, self._base + 8),)

    @property
    def pending_input(self) -> int:
        """How many bytes that were fed the guest has not read yet."""
        return len(self._input) + len(self._received)

    def reset(self) -> None:
        """Go to the state after power-on; bytes that were fed and not yet received stay."""
        self._received: deque[int] = deque()
        self._interrupt_enable = 0
        self._fifo_control = 0
        self._line_control = 0
        self._modem_control = 0
        self._modem_delta = 0
        self._scratch = 0
        self._divisor = 0x000C
        self._overrun = 0
        self._transmit_interrupt = False
        self._update_interrupt()

    def feed(self, data: bytes) -> None:
        """Send bytes to the guest; they wait until it has read those before them.

        Call it from the thread that runs the machine.
        """
        self._input.extend(data)
        self._receive()

    def flush(self) -> None:
        """Give the output so far to the sinks, whole line or not."""
        if self._flush_timer is not None:
            self._timers.cancel(self._flush_timer)
            self._flush_timer = None
        if self._output:
            data = bytes(self._output)
            self._output.clear()
            for sink in self.sinks:
                sink(data)

    def read_port(self, port: int, size: int) -> int:
        """Read a register."""
        register = port - self._base
        if register == 5:
            value = _LSR_TRANSMITTER_EMPTY | self._overrun
            if self._overrun:
                self._overrun = 0
                self._update_interrupt()
            return value | (_LSR_DATA_READY if self._received else 0)
        if register == 0:
            if self._line_control & _LCR_DIVISOR_LATCH:
                return self._divisor & 0xFF
            return self._read_received()
        if register == 1:
            if self._line_control & _LCR_DIVISOR_LATCH:
                return self._divisor >> 8
            return self._interrupt_enable
        if register == 2:
            return self._read_interrupt_identification()
        if register == 3:
            return self._line_control
        if register == 4:
            return self._modem_control
        if register == 6:
            value = self._modem_status() | self._modem_delta
            self._modem_delta = 0
            self._update_interrupt()
            return value
        return self._scratch

    def write_port(self, port: int, size: int, value: int) -> None:
        """Write a register."""
        register = port - self._base
        if register == 0:
            if self._line_control & _LCR_DIVISOR_LATCH:
                self._divisor = self._divisor & 0xFF00 | value
            else:
                self._transmit(value)
        elif register == 1:
            if self._line_control & _LCR_DIVISOR_LATCH:
                self._divisor = self._divisor & 0xFF | value << 8
                return
            enabled = value & ~self._interrupt_enable
            self._interrupt_enable = value & 0x0F
            # Enabling the interrupt while the transmitter is empty raises it at once.
            if enabled & _IER_TRANSMIT_EMPTY:
                self._transmit_interrupt = True
            self._update_interrupt()
        elif register == 2:
            if value & _FCR_CLEAR_RECEIVER or (value ^ self._fifo_control) & _FCR_ENABLE:
                self._clear_receiver()
            self._fifo_control = value & (_FCR_ENABLE | _FCR_TRIGGER) if value & _FCR_ENABLE else 0
            self._update_interrupt()
            self._receive()
        elif register == 3:
            self._line_control = value
        elif register == 4:
            before = self._modem_status()
            self._modem_control = value & 0x1F
            changed = before ^ self._modem_status()
            # Ring indicator reports its end only.
            self._modem_delta |= changed >> 4 & 0x0B | (before & ~self._modem_status()) >> 4 & 0x04
            self._update_interrupt()
        elif register == 7:
            self._scratch = value

    def _transmit(self, value: int) -> None:
        if self._modem_control & _MCR_LOOP:
            if len(self._received) < self._receive_capacity():
                self._received.append(value)
            else:
                self._overrun = _LSR_OVERRUN
        else:
            output = self._output
            output.append(value)
            if value == 0x0A or len(output) >= _FLUSH_BYTES:
                self.flush()
            elif self._flush_timer is None:
                self._flush_timer = self._timers.schedule(
                    self._clock.now() + _FLUSH_NS, self._flush_late
                )
        self._transmit_interrupt = True
        self._update_interrupt()

    def _flush_late(self) -> None:
        self._flush_timer = None
        self.flush()

    def _receive_capacity(self) -> int:
        return _FIFO_SIZE if self._fifo_control & _FCR_ENABLE else 1

    def _receive(self) -> None:
        """Move what fits into the receive FIFO, not faster than the line could bring it."""
        if self._receive_timer is not None or not self._input:
            return
        if self._modem_control & _MCR_LOOP:
            self._schedule_receive(self._clock.now() + _CHARACTER_NS)
            return
        count = min(self._receive_capacity() - len(self._received), len(self._input))
        if count <= 0:
            return
        now = self._clock.now()
        if now < self._receive_at:
            self._schedule_receive(self._receive_at)
            return
        for _ in range(count):
            self._received.append(self._input.popleft())
        self._receive_at = now + count * _CHARACTER_NS
        self._update_interrupt()

    def _clear_receiver(self) -> None:
        # Drivers clear the FIFO when they find and when they open the port. What came for the
        # guest before comes again a little later, as if it had been sent when there was somebody
        # to take it.
        if self._received and not self._modem_control & _MCR_LOOP:
            self._input.extendleft(reversed(self._received))
            self._receive_at = max(self._receive_at, self._clock.now() + _CHARACTER_NS)
        self._received.clear()

    def _schedule_receive(self, at: int) -> None:
        self._receive_timer = self._timers.schedule(at, self._receive_later)

    def _receive_later(self) -> None:
        self._receive_timer = None
        self._receive()

    def _read_received(self) -> int:
        value = self._received.popleft() if self._received else 0
        if not self._received:
            self._receive()
        self._update_interrupt()
        return value

    def _modem_status(self) -> int:
        if not self._modem_control & _MCR_LOOP:
            return _MSR_CONNECTED
        # In loopback: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
        control = self._modem_control
        return (control & 2) << 3 | (control & 1) << 5 | (control & 0x0C) << 4

    def _interrupt_identification(self) -> int:
        enable = self._interrupt_enable
        if enable & _IER_LINE and self._overrun:
            return _IIR_LINE
        if enable & _IER_RECEIVED and self._received:
            level = _TRIGGER_LEVELS[self._fifo_control >> 6]
            full = not self._fifo_control or len(self._received) >= level
            return _IIR_RECEIVED if full else _IIR_TIMEOUT
        if enable & _IER_TRANSMIT_EMPTY and self._transmit_interrupt:
            return _IIR_TRANSMIT_EMPTY
        if enable & _IER_MODEM and self._modem_delta:
            return _IIR_MODEM
        return _IIR_NONE

    def _read_interrupt_identification(self) -> int:
        value = self._interrupt_identification()
        if value == _IIR_TRANSMIT_EMPTY:
            self._transmit_interrupt = False
            self._update_interrupt()
        return value | (_IIR_FIFO if self._fifo_control & _FCR_ENABLE else 0)

    def _update_interrupt(self) -> None:
        # OUT2 gates the line on a PC; in loopback the pin is inactive.
        gated = self._modem_control & (_MCR_OUT2 | _MCR_LOOP) == _MCR_OUT2
        line = gated and self._interrupt_identification() != _IIR_NONE
        if line != self._line:
            self._line = line
            self._set_irq(self.irq, line)
