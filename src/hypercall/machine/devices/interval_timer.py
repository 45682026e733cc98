"""The 8254 interval timer: channel 0 on interrupt line 0, channel 2 behind port 0x61.

Source: Intel 8254 data sheet. Counters are not stepped: a count is computed from the time when
someone looks.
"""

from collections.abc import Callable, Sequence

from hypercall.partition.clock import ReferenceClock
from hypercall.partition.timers import MINIMUM_PERIOD, TimerHandle, TimerQueue

FREQUENCY = 1_193_182
_SECOND_NS = 1_000_000_000
# The DRAM refresh signal at port 0x61 bit 4 toggles every 15 microseconds.
_REFRESH_NS = 15_085


def _ticks_to_ns(ticks: int) -> int:
    """The first nanosecond at which that many ticks have passed."""
    return -(-ticks * _SECOND_NS // FREQUENCY)


class _Channel:
    """One counter."""

    __slots__ = (
        "_clock",
        "_latched",
        "_low_byte",
        "_read_high",
        "_status",
        "access",
        "binary_decimal",
        "gate",
        "loaded",
        "mode",
        "reload",
        "started",
    )

    def __init__(self, clock: ReferenceClock) -> None:
        self._clock = clock
        self._latched: list[int] = []
        self._low_byte: int | None = None
        self._read_high = False
        self._status: int | None = None
        self.access = 3
        self.mode = 3
        self.binary_decimal = False
        self.gate = True
        self.loaded = False
        self.reload = 0x10000
        self.started = 0

    def ticks(self) -> int:
        """How many counts have passed since the count was loaded."""
        return (self._clock.now() - self.started) * FREQUENCY // _SECOND_NS

    def count(self) -> int:
        """The counter's value now."""
        if not self.loaded:
            return 0
        passed = self.ticks()
        modulus = 10_000 if self.binary_decimal else 0x10000
        if self.mode in (2, 3):
            if not self.gate:
                return self.reload % modulus
            phase = passed % self.reload
            value = self.reload - phase
            if self.mode == 3:
                value = self.reload - 2 * (phase % ((self.reload + 1) // 2))
        else:
            value = self.reload - passed
        return value % modulus

    def output(self) -> bool:
        """The level of the OUT pin now."""
        if not self.loaded:
            return self.mode != 0
        passed = self.ticks()
        if self.mode in (0, 1):
            return passed >= self.reload
        if not self.gate:
            return True
        if self.mode == 2:
            return passed % self.reload != self.reload - 1
        if self.mode == 3:
            return passed % self.reload < (self.reload + 1) // 2
        return passed != self.reload

    def control(self, value: int) -> None:
        """Take a control word for this channel."""
        access = value >> 4 & 3
        if access == 0:
            self.latch()
            return
        self.access = access
        self.mode = value >> 1 & 7
        if self.mode > 5:
            self.mode -= 4
        self.binary_decimal = bool(value & 1)
        self.loaded = False
        self._low_byte = None
        self._read_high = False
        self._latched.clear()
        self._status = None

    def latch(self) -> None:
        """Keep the count for the next reads."""
        if not self._latched:
            self._latched = self._bytes_to_read()

    def latch_status(self) -> None:
        """Keep the status for the next read."""
        if self._status is None:
            status = self.access << 4 | self.mode << 1 | int(self.binary_decimal)
            self._status = status | self.output() << 7 | (not self.loaded) << 6

    def _bytes_to_read(self) -> list[int]:
        count = self.count()
        if self.binary_decimal:
            count = int(f"{count:04d}", 16)
        low, high = count & 0xFF, count >> 8
        return {1: [low], 2: [high]}.get(self.access, [low, high])

    def read(self) -> int:
        """Read the channel's port."""
        if self._status is not None:
            status, self._status = self._status, None
            return status
        if self._latched:
            return self._latched.pop(0)
        values = self._bytes_to_read()
        if len(values) == 1:
            return values[0]
        self._read_high = not self._read_high
        return values[0] if self._read_high else values[1]

    def write(self, value: int) -> bool:
        """Write the channel's port; True when the count is complete and counting starts."""
        if self.access == 3 and self._low_byte is None:
            self._low_byte = value
            # In mode 0 the first byte stops the count.
            if self.mode == 0:
                self.loaded = False
            return False
        if self.access == 3:
            count = (self._low_byte or 0) | value << 8
            self._low_byte = None
        else:
            count = value if self.access == 1 else value << 8
        if self.binary_decimal:
            count = sum((count >> 4 * n & 0xF) * 10**n for n in range(4))
        self.reload = count or (10_000 if self.binary_decimal else 0x10000)
        self.loaded = True
        self.started = self._clock.now()
        return True


class IntervalTimer:
    """The three counters, and port 0x61, which gates and shows the third."""

    widest_access = 1

    def __init__(
        self, clock: ReferenceClock, timers: TimerQueue, set_irq: Callable[[int, bool], None]
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._set_irq = set_irq
        self._channels = tuple(_Channel(clock) for _ in range(3))
        self._channels[2].gate = False
        self._speaker = 0
        # Firmware leaves channel 0 in mode 3, whose output starts high.
        self._line = True
        self._deadline = 0
        self._handle: TimerHandle | None = None

    @property
    def ports(self) -> Sequence[range]:
        """The counters, the control word and system control port B."""
        return (range(0x40, 0x44), range(0x61, 0x62))

    def read_port(self, port: int, size: int) -> int:
        """Read a counter or port 0x61."""
        if port == 0x61:
            refresh = self._clock.now() // _REFRESH_NS & 1
            third = self._channels[2]
            return self._speaker | int(third.gate) | refresh << 4 | third.output() << 5
        if port == 0x43:
            return 0xFF
        return self._channels[port - 0x40].read()

    def write_port(self, port: int, size: int, value: int) -> None:
        """Write a counter, the control word or port 0x61."""
        if port == 0x61:
            self._speaker = value & 0x0E
            third = self._channels[2]
            gate = bool(value & 1)
            # A rising gate starts the count anew in the modes that a program can trigger so.
            if gate and not third.gate:
                third.started = self._clock.now()
            third.gate = gate
        elif port == 0x43:
            self._control(value)
        elif self._channels[port - 0x40].write(value) and port == 0x40:
            self._restart()

    def _control(self, value: int) -> None:
        selected = value >> 6
        if selected == 3:
            for index, channel in enumerate(self._channels):
                if value & 2 << index:
                    if not value & 0x20:
                        channel.latch()
                    if not value & 0x10:
                        channel.latch_status()
            return
        self._channels[selected].control(value)
        if selected == 0 and value & 0x30:
            self._stop()
            self._drive(self._channels[0].mode != 0)

    def _stop(self) -> None:
        if self._handle is not None:
            self._timers.cancel(self._handle)
            self._handle = None

    def _restart(self) -> None:
        self._stop()
        channel = self._channels[0]
        # Modes 1 and 5 wait for a gate that never comes: channel 0's is wired high.
        if channel.mode in (1, 5):
            return
        self._drive(channel.mode != 0)
        self._deadline = channel.started + _ticks_to_ns(channel.reload)
        self._handle = self._timers.schedule(self._deadline, self._expire)

    def _expire(self) -> None:
        self._handle = None
        channel = self._channels[0]
        self._drive(False)
        self._drive(True)
        if channel.mode in (2, 3):
            period = max(_ticks_to_ns(channel.reload), MINIMUM_PERIOD)
            # Expirations that were missed merge into this one; the phase is kept.
            missed = max(self._clock.now() - self._deadline, 0) // period
            self._deadline += (missed + 1) * period
            self._handle = self._timers.schedule(self._deadline, self._expire)

    def _drive(self, level: bool) -> None:
        if level != self._line:
            self._line = level
            self._set_irq(0, level)
