"""Faults of deliveries: interrupts, messages and expirations that are lost or late; full buffers.

A partition asks at the place where a delivery asserts (`hypercall.partition.injection`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from hypercall.durations import duration_text
from hypercall.faults.armed import ArmedFault, FaultHost
from hypercall.faults.fault import (
    BufferFault,
    BufferKind,
    DeliveryFault,
    InterruptFault,
    TimerFault,
)
from hypercall.partition.debug_channel import CAPACITY
from hypercall.partition.ports import MESSAGE_BUFFERS, HostMessagePort, MessagePort
from hypercall.partition.synic import QueuedMessage
from hypercall.partition.synthetic_timers import SyntheticTimer
from hypercall.partition.virtual_processor import VirtualProcessorVtl
from hypercall.tlfs.messages import MessageType

_MESSAGE_NAMES = {int(each): each.name for each in MessageType}


@dataclass(frozen=True, slots=True)
class Delivery:
    """Something that is about to be delivered.

    Attributes:
        kind: ``"interrupt"``, ``"message"`` or ``"timer"``.
        number: the vector, the message type or the timer.
        sint: of a message, the SINT; else None.
        vp_index: the VP index of the target.
        vtl: the VTL of the target.
    """

    kind: str
    number: int
    sint: int | None
    vp_index: int
    vtl: int

    def fits(self, fault: DeliveryFault) -> bool:
        """Return whether a fault concerns it."""
        if fault.vp not in (None, self.vp_index) or fault.vtl not in (None, self.vtl):
            return False
        if isinstance(fault, InterruptFault):
            return self.kind == "interrupt" and fault.vector in (None, self.number)
        if isinstance(fault, TimerFault):
            return self.kind == "timer" and fault.timer in (None, self.number)
        return (
            self.kind == "message"
            and fault.message_type in (None, self.number)
            and fault.sint in (None, self.sint)
        )

    def __str__(self) -> str:
        if self.kind == "interrupt":
            name = f"interrupt {self.number:#04x}"
        elif self.kind == "timer":
            name = f"expiration of timer {self.number}"
        else:
            kind = _MESSAGE_NAMES.get(self.number) or f"{self.number:#x}"
            name = f"message {kind} for SINT {self.sint}"
        vtl = f" in VTL {self.vtl}" if self.vtl else ""
        return f"{name} of VP {self.vp_index}{vtl}"


class DeliveryFaults:
    """The injection of one partition: its faults of deliveries and of buffers.

    Args:
        host: the machine.

    Attributes:
        armed: the faults of deliveries, in the order of their arming.
        buffers: the faults of buffers.
        observers: called with each delivery before any fault is looked at.
    """

    # Who watches stays when the machine goes back to a snapshot.
    not_state: ClassVar[tuple[str, ...]] = ("observers",)

    def __init__(self, host: FaultHost) -> None:
        self._host = host
        self.armed: list[tuple[DeliveryFault, ArmedFault]] = []
        self.buffers: list[tuple[BufferFault, ArmedFault]] = []
        self.observers: list[Callable[[Delivery], None]] = []
        # What was delayed comes by the same way as the first time.
        self._passing = False

    @property
    def wanted(self) -> bool:
        """Whether any delivery is to be looked at."""
        return bool(self.armed or self.buffers or self.observers)

    # --- what the partition asks -----------------------------------------------------------------

    def takes_interrupt(self, owner: VirtualProcessorVtl, vector: int, level: bool) -> bool:
        """Return whether an interrupt that a local APIC is about to accept is taken away."""
        delivery = Delivery("interrupt", vector, None, owner.vp.index, owner.vtl)
        return self._takes(delivery, partial(_request, owner, vector, level))

    def takes_message(self, owner: VirtualProcessorVtl, sint: int, message: QueuedMessage) -> bool:
        """Return whether a message that is about to be queued is taken away."""
        delivery = Delivery("message", message.message_type, sint, owner.vp.index, owner.vtl)
        again = partial(owner.synic.queue_message, sint, message)
        return self._takes(delivery, again, message.released)

    def takes_expiration(self, timer: SyntheticTimer, expiration: int) -> bool:
        """Return whether the signal of a timer that has expired is taken away."""
        owner = timer.owner
        delivery = Delivery("timer", timer.index, None, owner.vp.index, owner.vtl)
        return self._takes(delivery, partial(timer.signal, expiration))

    def port_full(self, port: MessagePort | HostMessagePort) -> bool:
        """Return whether a port has no buffer for another message."""
        if isinstance(port, HostMessagePort):
            kind, used = BufferKind.HOST_MESSAGES, len(port.waiting)
        else:
            kind, used = BufferKind.MESSAGES, MESSAGE_BUFFERS - port.free_buffers
        for fault, armed in self.buffers:
            if fault.buffer is kind and used >= fault.size:
                armed.strike(f"port {port.port_id:#x} was full with {used} messages")
                return True
        return False

    # --- faults ----------------------------------------------------------------------------------

    def buffers_changed(self) -> None:
        """Give the debug channel the capacity that the faults leave it."""
        found = [each for each in self.buffers if each[0].buffer is BufferKind.DEBUG]
        channel = self._host.partition.debug_channel
        channel.capacity = min((fault.size for fault, _ in found), default=CAPACITY)
        if not found:
            channel.on_full = None
            return
        smallest = min(found, key=lambda each: each[0].size)[1]
        channel.on_full = partial(smallest.strike, "the debug channel was full")

    def _takes(
        self,
        delivery: Delivery,
        again: Callable[[], None],
        released: Callable[[bool], None] | None = None,
    ) -> bool:
        if self._passing:
            return False
        for observer in self.observers:
            observer(delivery)
        struck: tuple[DeliveryFault, ArmedFault] | None = None
        for fault, armed in self.armed:
            if delivery.fits(fault) and armed.chooses() and struck is None:
                struck = fault, armed
        if struck is None:
            return False
        fault, armed = struck
        if fault.delay_ns is None:
            armed.strike(f"{delivery} was dropped")
            if released is not None:
                # Its buffer is free again, and it was not delivered.
                released(False)
            return True
        armed.strike(f"{delivery} was delayed by {duration_text(fault.delay_ns)}")
        at = self._host.now() + fault.delay_ns
        self._host.partition.timers.schedule(at, partial(self._pass_on, again))
        return True

    def _pass_on(self, again: Callable[[], None]) -> None:
        """Deliver what was delayed, in the same way as the first time."""
        self._passing = True
        try:
            again()
        finally:
            self._passing = False


def _request(owner: VirtualProcessorVtl, vector: int, level: bool) -> None:
    # A reset may have given the processor another APIC since.
    owner.apic.request(vector, level)
