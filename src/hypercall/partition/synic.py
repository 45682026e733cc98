"""The synthetic interrupt controller of one virtual processor in one VTL: messages and flags."""

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypercall.partition.faults import GeneralProtection
from hypercall.partition.overlay_register import OverlayRegister
from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

SINT_COUNT = 16
SLOT_SIZE = 256
"""The size of a message slot and of a SINT's event flags, in bytes."""
EVENT_FLAGS_PER_SINT = SLOT_SIZE * 8
MAX_PAYLOAD = 240

SINT_MASKED = 1 << 16
SINT_AUTO_EOI = 1 << 17
SINT_POLLING = 1 << 18
SINT_INITIAL = SINT_MASKED

_HEADER = struct.Struct("<IBBHQ")
_U32 = struct.Struct("<I")
_FLAGS_OFFSET = 5
_MESSAGE_PENDING = 1


@dataclass(slots=True)
class QueuedMessage:
    """A message buffer on its way into a message slot.

    Attributes:
        message_type: the message type; bit 31 is set for messages of the hypervisor.
        payload: makes the payload, at most 240 bytes, at the moment of delivery.
        origination: the port id of a posted message, the partition id of an intercept's.
        released: called when the buffer is free again, with whether the message was delivered.
    """

    message_type: int
    payload: Callable[[], bytes]
    origination: int
    released: Callable[[bool], None] | None = None


class Synic:
    """The SynIC extensions of a local APIC (TLFS, Inter-Partition Communication).

    Attributes:
        owner: the VTL of the virtual processor that it belongs to.
        control: the SCONTROL register.
        message_page: the SIMP register and the SIM page.
        event_flags_page: the SIEFP register and the SIEF page.
        ring_buffer_page: the SIRBP register, which only keeps its value.
        sints: the SINT registers.
        sint_vectors: bit v set for each vector v that an unmasked SINT uses.
        auto_eoi_vectors: those of them that end by themselves at delivery.
    """

    def __init__(self, owner: "VirtualProcessorVtl") -> None:
        self.owner = owner
        memory = owner.partition.memory
        self._masked_sints_wait = owner.partition.readings.message_to_masked_sint
        self.control = 0
        self.message_page = OverlayRegister(memory, owner.vtl)
        self.event_flags_page = OverlayRegister(memory, owner.vtl)
        self.ring_buffer_page = 0
        self.sints = [SINT_INITIAL] * SINT_COUNT
        self.sint_vectors = 0
        self.auto_eoi_vectors = 0
        self._notification_vectors = 0
        self._queues: list[deque[QueuedMessage]] = [deque() for _ in range(SINT_COUNT)]
        self._queued = 0

    def reset(self) -> None:
        """Go to the state after reset: everything disabled, the pages zero, the queues empty."""
        self.control = 0
        self.message_page.reset()
        self.event_flags_page.reset()
        self.ring_buffer_page = 0
        self.sints = [SINT_INITIAL] * SINT_COUNT
        self._notification_vectors = 0
        self._sints_changed()
        for queue in self._queues:
            while queue:
                released = queue.popleft().released
                if released is not None:
                    released(False)
        self._queued = 0

    # --- registers ---------------------------------------------------------------------------

    @property
    def accepts_messages(self) -> bool:
        """Whether messages may be queued: SynIC and SIM page are enabled."""
        return bool(self.control & 1) and self.message_page.enabled

    @property
    def accepts_events(self) -> bool:
        """Whether event flags may be set: SynIC and SIEF page are enabled."""
        return bool(self.control & 1) and self.event_flags_page.enabled

    def write_control(self, value: int) -> None:
        """Write SCONTROL; enabling it tries to deliver what is queued."""
        self.control = value
        if value & 1:
            self.scan_queues()

    def write_message_page(self, value: int) -> None:
        """Write SIMP; enabling it tries to deliver what is queued."""
        self.message_page.write(value)
        self.scan_queues()

    def write_sint(self, index: int, value: int) -> None:
        """Write a SINT register.

        A pending interrupt keeps the vector it was raised with (TLFS, SINTx registers).

        Raises:
            GeneralProtection: the vector is below 16 and the SINT is neither masked nor polled.
        """
        if value & 0xFF < 16 and not value & (SINT_MASKED | SINT_POLLING):
            raise GeneralProtection
        self.sints[index] = value
        self._sints_changed()
        if self._masked_sints_wait:
            self.scan_queues()

    def set_notification_vector(self, vectors: int) -> None:
        """Set which vector beside those of SINTs ends by itself at delivery.

        Args:
            vectors: the bit of that vector, or 0 for none.
        """
        self._notification_vectors = vectors
        self._sints_changed()

    def _sints_changed(self) -> None:
        self.sint_vectors = 0
        self.auto_eoi_vectors = self._notification_vectors
        for value in self.sints:
            if not value & (SINT_MASKED | SINT_POLLING):
                self.sint_vectors |= 1 << (value & 0xFF)
                if value & SINT_AUTO_EOI:
                    self.auto_eoi_vectors |= 1 << (value & 0xFF)

    def masked(self, sint: int) -> bool:
        """Return whether the SINT is masked; polling mode unmasks it (TLFS, SINTx registers)."""
        return self.sints[sint] & (SINT_MASKED | SINT_POLLING) == SINT_MASKED

    def raise_sint(self, sint: int) -> None:
        """Request the SINT's edge-triggered interrupt, which a masked or polled one does not."""
        value = self.sints[sint]
        if not value & (SINT_MASKED | SINT_POLLING):
            self.owner.apic.request(value & 0xFF)

    # --- messages ----------------------------------------------------------------------------

    def queue_message(self, sint: int, message: QueuedMessage) -> None:
        """Queue a message for a SINT and deliver what can be delivered.

        The order of messages for one SINT is that in which they were queued.
        """
        injection = self.owner.partition.injection
        if injection is not None and injection.takes_message(self.owner, sint, message):
            return
        self._queues[sint].append(message)
        self._queued |= 1 << sint
        self.scan_queues()

    def queue_length(self, sint: int) -> int:
        """Return how many messages wait for the SINT's slot."""
        return len(self._queues[sint])

    def scan_queues(self) -> None:
        """Deliver the next message of every SINT whose slot is empty, as a write to EOM does."""
        if self._queued:
            for sint in range(SINT_COUNT):
                if self._queued >> sint & 1:
                    self._deliver(sint)

    def end_of_interrupt(self, vector: int) -> None:
        """Try to deliver what waits for the SINTs of a vector whose interrupt has ended."""
        if self._queued:
            for sint in range(SINT_COUNT):
                if self._queued >> sint & 1 and self.sints[sint] & 0xFF == vector:
                    self._deliver(sint)

    def _deliver(self, sint: int) -> None:
        page = self.message_page.view
        if page is None or (self.masked(sint) and self._masked_sints_wait):
            return
        queue = self._queues[sint]
        offset = sint * SLOT_SIZE
        if _U32.unpack_from(page, offset)[0]:
            # The slot is full: the guest is told to write EOM once it has emptied it.
            if not page[offset + _FLAGS_OFFSET] & _MESSAGE_PENDING:
                page[offset + _FLAGS_OFFSET] |= _MESSAGE_PENDING
                self.message_page.wrote(offset + _FLAGS_OFFSET, 1)
            return
        message = queue.popleft()
        if not queue:
            self._queued &= ~(1 << sint)
        payload = message.payload()
        flags = _MESSAGE_PENDING if queue else 0
        _HEADER.pack_into(
            page, offset, message.message_type, len(payload), flags, 0, message.origination
        )
        start = offset + _HEADER.size
        page[start : start + len(payload)] = payload
        self.message_page.wrote(offset, _HEADER.size + len(payload))
        if message.released is not None:
            message.released(True)
        self._tell(sint, message.message_type)
        self.raise_sint(sint)

    # --- event flags -------------------------------------------------------------------------

    def signal_event(self, sint: int, flag: int) -> HvStatus:
        """Set an event flag and raise the SINT if the flag was clear.

        Args:
            sint: the SINT.
            flag: 0 to 2047.

        Returns:
            SUCCESS, or INVALID_SYNIC_STATE when the SynIC or the SIEF page is disabled or the
            SINT is masked (TLFS, Event Flag Delivery).
        """
        page = self.event_flags_page.view
        if page is None or not self.control & 1 or self.masked(sint):
            return HvStatus.INVALID_SYNIC_STATE
        offset = sint * SLOT_SIZE + (flag >> 3)
        bit = 1 << (flag & 7)
        if not page[offset] & bit:
            page[offset] |= bit
            self.event_flags_page.wrote(offset, 1)
            self._tell(sint, None)
            self.raise_sint(sint)
        return HvStatus.SUCCESS

    def _tell(self, sint: int, message_type: int | None) -> None:
        value = self.sints[sint]
        vector = None if value & (SINT_MASKED | SINT_POLLING) else value & 0xFF
        self.owner.partition.on_delivery(self.owner, sint, vector, message_type)
