"""The timer of a local APIC: one-shot, periodic and TSC-deadline."""

from typing import TYPE_CHECKING

from hypercall.partition.clock import NANOSECONDS_PER_APIC_TICK
from hypercall.partition.timers import MINIMUM_PERIOD, TimerHandle

if TYPE_CHECKING:
    from hypercall.partition.local_apic import LocalApic

_MODE = 3 << 17
_PERIODIC = 1 << 17
_TSC_DEADLINE = 2 << 17
_MASKED = 1 << 16


class ApicTimer:
    """The APIC timer, which counts the 200 MHz bus clock divided by up to 128.

    Attributes:
        initial_count: the initial count register.
        divide: the divide configuration register.
        deadline_msr: the IA32_TSC_DEADLINE MSR; 0 while it is not armed.
    """

    __slots__ = ("_apic", "_deadline", "_handle", "deadline_msr", "divide", "initial_count")

    def __init__(self, apic: "LocalApic") -> None:
        self._apic = apic
        self._handle: TimerHandle | None = None
        self._deadline = 0
        self.initial_count = 0
        self.divide = 0
        self.deadline_msr: int = 0

    def reset(self) -> None:
        """Go to the state after reset."""
        self._stop()
        self.initial_count = 0
        self.divide = 0
        self.deadline_msr = 0

    @property
    def _tick(self) -> int:
        """The length of a count in nanoseconds."""
        selector = self.divide >> 1 & 4 | self.divide & 3
        return NANOSECONDS_PER_APIC_TICK << ((selector + 1) & 7)

    @property
    def deadline_ns(self) -> int | None:
        """When the next expiration comes, in nanoseconds of virtual time, or None."""
        return None if self._handle is None else self._handle.at

    def current_count(self) -> int:
        """Return the current count register."""
        if self._handle is None or self._apic.timer_entry & _MODE == _TSC_DEADLINE:
            return 0
        remaining = self._deadline - self._apic.owner.partition.clock.now()
        return max(0, -(-remaining // self._tick))

    def write_initial_count(self, value: int) -> None:
        """Start the count, or stop it with 0; without effect in TSC-deadline mode."""
        if self._apic.timer_entry & _MODE == _TSC_DEADLINE:
            return
        self.initial_count = value
        self._stop()
        if value:
            self._start(self._apic.owner.partition.clock.now() + value * self._tick)

    def write_divide(self, value: int) -> None:
        """Set the divide configuration; a running count goes on at the new rate."""
        count = self.current_count()
        self.divide = value & 0xB
        if count and self._handle is not None:
            self._stop()
            self._start(self._apic.owner.partition.clock.now() + count * self._tick)

    def mode_changed(self, old: int, new: int) -> None:
        """The LVT timer entry changed; to or from TSC-deadline mode disarms the timer."""
        if (old ^ new) & _TSC_DEADLINE:
            self._stop()
            self.deadline_msr = 0
            self.initial_count = 0

    def write_deadline(self, value: int) -> None:
        """Write IA32_TSC_DEADLINE; ignored in the other modes, 0 disarms."""
        if self._apic.timer_entry & _MODE != _TSC_DEADLINE:
            return
        self._stop()
        self.deadline_msr = value
        if value:
            self._start(max(value - self._apic.owner.tsc_offset, 0))

    def _start(self, deadline: int) -> None:
        self._deadline = deadline
        self._handle = self._apic.owner.partition.timers.schedule(deadline, self._expire)

    def _stop(self) -> None:
        if self._handle is not None:
            self._apic.owner.partition.timers.cancel(self._handle)
            self._handle = None

    def _expire(self) -> None:
        self._handle = None
        entry = self._apic.timer_entry
        mode = entry & _MODE
        if mode == _PERIODIC and self.initial_count:
            period = max(self.initial_count * self._tick, MINIMUM_PERIOD)
            now = self._apic.owner.partition.clock.now()
            # Expirations that were missed merge into this one; the phase is kept.
            missed = (now - self._deadline) // period
            self._start(self._deadline + (missed + 1) * period)
        elif mode == _TSC_DEADLINE:
            self.deadline_msr = 0
        if not entry & _MASKED:
            self._apic.request(entry & 0xFF)
