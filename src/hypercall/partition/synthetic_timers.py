"""The four synthetic timers of one virtual processor in one VTL."""

import struct
from functools import partial
from typing import TYPE_CHECKING

from hypercall.partition.clock import NANOSECONDS_PER_REFERENCE_UNIT
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.synic import QueuedMessage
from hypercall.partition.timers import MINIMUM_PERIOD, TimerHandle
from hypercall.tlfs.privileges import Feature

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

TIMER_COUNT = 4
TIMER_EXPIRED = 0x80000010
"""HvMessageTimerExpired (TLFS, HV_MESSAGE_TYPE)."""

ENABLE = 1 << 0
PERIODIC = 1 << 1
LAZY = 1 << 2
AUTO_ENABLE = 1 << 3
DIRECT = 1 << 12
_DEFINED = 0xF | 0xFF << 4 | DIRECT | 0xF << 16

_PAYLOAD = struct.Struct("<IIQQ")
_MINIMUM_PERIOD = MINIMUM_PERIOD // NANOSECONDS_PER_REFERENCE_UNIT


class SyntheticTimer:
    """A synthetic timer (TLFS, Timers, Synthetic Timers).

    Attributes:
        owner: the VTL of the virtual processor that it belongs to.
        index: its number, 0 to 3.
        config: the configuration register.
        count: the count register: expiration time or period, in units of 100 ns.
        waiting: whether the timer's one message buffer waits for its message slot.
    """

    __slots__ = ("_expiration", "_handle", "config", "count", "index", "owner", "waiting")

    def __init__(self, owner: "VirtualProcessorVtl", index: int) -> None:
        self.owner = owner
        self.index = index
        self._handle: TimerHandle | None = None
        self._expiration = 0
        self.config = 0
        self.count = 0
        self.waiting = False

    def reset(self) -> None:
        """Go to the state after reset: disabled."""
        self._stop()
        self.config = 0
        self.count = 0

    @property
    def running(self) -> bool:
        """Whether an expiration is still to come."""
        return self._handle is not None

    @property
    def deadline_ns(self) -> int | None:
        """When the next expiration comes, in nanoseconds of virtual time, or None."""
        return None if self._handle is None else self._handle.at

    def write_config(self, value: int) -> None:
        """Write the configuration register; reserved bits read back as zero.

        Raises:
            GeneralProtection: direct mode, which the partition does not have.
        """
        has_direct_mode = self.owner.partition.configuration.features & (
            Feature.DIRECT_SYNTHETIC_TIMERS
        )
        if value & DIRECT and not has_direct_mode:
            raise GeneralProtection
        self._stop()
        self.config = value & _DEFINED
        self._start()

    def write_count(self, value: int) -> None:
        """Write the count register; 0 stops and disables the timer."""
        self._stop()
        self.count = value
        if not value:
            self.config &= ~ENABLE
        elif self.config & AUTO_ENABLE:
            self.config |= ENABLE
        self._start()

    def _start(self) -> None:
        config = self.config
        if not config & ENABLE:
            return
        # An enabled timer needs somewhere to signal: a SINT other than 0, or a valid vector.
        if not config >> 16 & 0xF if not config & DIRECT else config >> 4 & 0xFF < 16:
            self.config &= ~ENABLE
            return
        if not self.count:
            return
        if config & PERIODIC:
            now = self.owner.partition.clock.reference_count()
            self._schedule(now + self._period)
        else:
            self._schedule(self.count)

    @property
    def _period(self) -> int:
        return max(self.count, _MINIMUM_PERIOD)

    def _schedule(self, expiration: int) -> None:
        self._expiration = expiration
        self._handle = self.owner.partition.timers.schedule(
            expiration * NANOSECONDS_PER_REFERENCE_UNIT, self._expire
        )

    def _stop(self) -> None:
        if self._handle is not None:
            self.owner.partition.timers.cancel(self._handle)
            self._handle = None

    def _expire(self) -> None:
        self._handle = None
        expiration = self._expiration
        if self.config & PERIODIC:
            # Missed periods are skipped and the phase is kept (TLFS, Periodic Timers).
            now = self.owner.partition.clock.reference_count()
            missed = (now - expiration) // self._period
            self._schedule(expiration + (missed + 1) * self._period)
        else:
            self.config &= ~ENABLE
        injection = self.owner.partition.injection
        if injection is None or not injection.takes_expiration(self, expiration):
            self.signal(expiration)

    def signal(self, expiration: int) -> None:
        """Tell the processor that the timer has expired.

        Args:
            expiration: when it was due, in units of 100 ns.
        """
        if self.config & DIRECT:
            self.owner.apic.request(self.config >> 4 & 0xFF)
        elif not self.waiting:
            self._send(expiration)

    def _send(self, expiration: int) -> None:
        self.waiting = True
        message = QueuedMessage(
            TIMER_EXPIRED,
            partial(self._payload, expiration),
            0,
            self._released,
        )
        self.owner.synic.queue_message(self.config >> 16 & 0xF, message)

    def _payload(self, expiration: int) -> bytes:
        delivery = self.owner.partition.clock.reference_count()
        return _PAYLOAD.pack(self.index, 0, expiration, delivery)

    def _released(self, delivered: bool) -> None:
        self.waiting = False
