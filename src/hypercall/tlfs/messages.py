"""SynIC messages: HV_MESSAGE, its types and the payloads that the hypervisor itself sends.

Sources: TLFS ``datatypes/hv_message``, ``datatypes/hv_message_type``,
``inter-partition-communication``; payload layouts of the intercepts from the headers.
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import Self

from hypercall.tlfs.layout import Buffer, Field, FieldKind, ReservedRule, Structure, reserved

MESSAGE_SIZE = 256
MESSAGE_PAYLOAD_SIZE = 240
MESSAGE_SLOT_COUNT = 16
MESSAGE_HEADER_SIZE = 16
HYPERVISOR_MESSAGE = 0x8000_0000
"""Bit 31 of a message type: sent by the hypervisor; a guest may not post such a type."""

MESSAGE_PENDING = 1
"""Bit 0 of the flags: another message waits for this slot."""

MESSAGE_TYPE_OFFSET = 0
MESSAGE_FLAGS_OFFSET = 5

EVENT_FLAGS_PER_SINT = 2048
EVENT_FLAGS_SIZE = 256


class MessageType(IntEnum):
    """HV_MESSAGE_TYPE."""

    NONE = 0x0000_0000
    UNMAPPED_GPA = 0x8000_0000
    GPA_INTERCEPT = 0x8000_0001
    UNACCEPTED_GPA = 0x8000_0003
    GPA_ATTRIBUTE_INTERCEPT = 0x8000_0004
    ENABLE_PARTITION_VTL_INTERCEPT = 0x8000_0005
    TIMER_EXPIRED = 0x8000_0010
    INVALID_VP_REGISTER_VALUE = 0x8000_0020
    UNRECOVERABLE_EXCEPTION = 0x8000_0021
    UNSUPPORTED_FEATURE = 0x8000_0022
    TLB_PAGE_SIZE_MISMATCH = 0x8000_0023
    EVENT_LOG_BUFFER_COMPLETE = 0x8000_0040
    HYPERCALL_INTERCEPT = 0x8000_0050
    SYNIC_EVENT_INTERCEPT = 0x8000_0060
    SYNIC_SINT_INTERCEPT = 0x8000_0061
    SYNIC_SINT_DELIVERABLE = 0x8000_0062
    X64_IO_PORT_INTERCEPT = 0x8001_0000
    X64_MSR_INTERCEPT = 0x8001_0001
    X64_CPUID_INTERCEPT = 0x8001_0002
    X64_EXCEPTION_INTERCEPT = 0x8001_0003
    X64_APIC_EOI = 0x8001_0004
    REGISTER_INTERCEPT = 0x8001_0006


_HEADER = Struct("<IBBxxQ")


@dataclass(slots=True)
class Message:
    """An HV_MESSAGE.

    Attributes:
        message_type: `MessageType`, or a guest's own number from 1 to 0x7FFFFFFF.
        payload: at most 240 bytes; its length is PayloadSize.
        flags: MessageFlags, bit 0 is MessagePending.
        sender: OriginationId: the port's id, or the partition's for intercepts.
    """

    message_type: int
    payload: bytes = b""
    flags: int = 0
    sender: int = 0

    def pack(self) -> bytes:
        """Return header and payload, `MESSAGE_HEADER_SIZE` plus the payload's length in bytes.

        Raises:
            ValueError: for a payload above 240 bytes.
        """
        if len(self.payload) > MESSAGE_PAYLOAD_SIZE:
            raise ValueError(f"a message carries at most {MESSAGE_PAYLOAD_SIZE} bytes")
        return _HEADER.pack(self.message_type, len(self.payload), self.flags, self.sender) + (
            self.payload
        )

    @classmethod
    def parse(cls, data: Buffer) -> Self:
        """Read a message from a slot.

        Raises:
            struct.error: if the buffer is shorter than a header.
        """
        message_type, size, flags, sender = _HEADER.unpack_from(data)
        start = MESSAGE_HEADER_SIZE
        payload = bytes(data[start : start + min(size, MESSAGE_PAYLOAD_SIZE)])
        return cls(message_type, payload, flags, sender)


TIMER_EXPIRED_PAYLOAD = Structure(
    "HV_TIMER_MESSAGE_PAYLOAD",
    (
        Field("timer_index", 0, 4),
        reserved(4, 4, ReservedRule.IGNORED),
        Field("expiration_time", 8, 8, note="100 ns, when it was due"),
        Field("delivery_time", 16, 8, note="100 ns, when the message was delivered"),
    ),
)

_INTERCEPT_HEADER = (
    Field("vp_index", 0, 4, FieldKind.VP_INDEX),
    Field("instruction_length_and_cr8", 4, 1, FieldKind.HEX, note="3:0 length, 7:4 CR8"),
    Field("access_type", 5, 1, note="0 read, 1 write, 2 execute"),
    Field("execution_state", 6, 2, FieldKind.HEX),
    Field("cs", 8, 16, FieldKind.SEGMENT),
    Field("rip", 24, 8, FieldKind.HEX),
    Field("rflags", 32, 8, FieldKind.HEX),
)

MEMORY_INTERCEPT_PAYLOAD = Structure(
    "HV_X64_MEMORY_INTERCEPT_MESSAGE",
    (
        *_INTERCEPT_HEADER,
        Field("cache_type", 40, 4, note="6 is write-back"),
        Field("instruction_byte_count", 44, 1),
        Field("memory_access_info", 45, 1, FieldKind.HEX),
        Field("tpr_priority", 46, 1),
        reserved(47, 1, ReservedRule.IGNORED),
        Field("guest_virtual_address", 48, 8, FieldKind.HEX),
        Field("guest_physical_address", 56, 8, FieldKind.GPA),
        Field("instruction_bytes", 64, 16, FieldKind.BYTES),
    ),
)

MSR_INTERCEPT_PAYLOAD = Structure(
    "HV_X64_MSR_INTERCEPT_MESSAGE",
    (
        *_INTERCEPT_HEADER,
        Field("msr_number", 40, 4, FieldKind.HEX),
        reserved(44, 4, ReservedRule.IGNORED),
        Field("rdx", 48, 8, FieldKind.HEX),
        Field("rax", 56, 8, FieldKind.HEX),
    ),
)

REGISTER_INTERCEPT_PAYLOAD = Structure(
    "HV_X64_REGISTER_INTERCEPT_MESSAGE",
    (
        *_INTERCEPT_HEADER,
        Field("flags", 40, 1, FieldKind.HEX, note="bit 0: memory operand"),
        reserved(41, 3, ReservedRule.IGNORED),
        Field("register_name", 44, 4, FieldKind.REGISTER_NAME),
        Field("source_value", 48, 16, FieldKind.REGISTER_VALUE),
    ),
)
