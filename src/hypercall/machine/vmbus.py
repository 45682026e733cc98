"""The contact point of the VMBus: it answers a guest that looks for the bus, and has no devices.

A guest posts INITIATE_CONTACT with the protocol version that it wants; the host answers on the
SINT and virtual processor that the guest names. Sources: Linux include/linux/hyperv.h and
drivers/hv/connection.c, OpenVMM vmbus_core/src/protocol.rs.
"""

import struct
from enum import IntEnum

from hypercall.partition.partition import Partition
from hypercall.partition.ports import PostedMessage, SignaledEvent, SintTarget
from hypercall.partition.synic import SINT_COUNT
from hypercall.tlfs.status import HvStatus

#: Guests up to protocol 4.1 post to this connection.
MESSAGE_CONNECTION_ID = 1
#: Guests from protocol 5.0 on post to this connection.
MESSAGE_CONNECTION_ID_4 = 4
#: Guests signal channels without an interrupt of their own here.
EVENT_CONNECTION_ID = 2
#: The message type that both sides give their channel messages.
CHANNEL_MESSAGE_TYPE = 1
#: Where guests listen that cannot say it, those before protocol 5.0.
DEFAULT_SINT = 2

_HEADER = struct.Struct("<II")
_CONTACT = struct.Struct("<IIBBHIQQ")
_FIRST_VERSION_WITH_TARGET = 0x0005_0000
#: The protocol versions that are accepted, major << 16 | minor.
VERSIONS = (
    0x0005_0003,
    0x0005_0002,
    0x0005_0001,
    0x0005_0000,
    0x0004_0001,
    0x0004_0000,
    0x0003_0000,
    0x0002_0004,
    0x0001_0001,
    0x0000_000D,
)


class ChannelMessage(IntEnum):
    """The channel messages that the contact point knows."""

    REQUEST_OFFERS = 3
    ALL_OFFERS_DELIVERED = 4
    INITIATE_CONTACT = 14
    VERSION_RESPONSE = 15
    UNLOAD = 16
    UNLOAD_COMPLETE = 17


class VmbusContactPoint:
    """The host's side of an empty VMBus, connected to its well-known connection ids.

    Args:
        partition: the partition whose guest may look for the bus.

    Attributes:
        version: the protocol version that was agreed on, None before and after.
        signals: how often the guest signalled the event connection.
        ignored: how many messages had no meaning here.

    Raises:
        InputError: a well-known connection id is taken already.
    """

    def __init__(self, partition: Partition) -> None:
        self.version: int | None = None
        self.signals = 0
        self.ignored = 0
        self._partition = partition
        ports = partition.ports
        messages = ports.create_host_message_port(self._receive)
        ports.connect(MESSAGE_CONNECTION_ID, messages)
        ports.connect(MESSAGE_CONNECTION_ID_4, messages)
        ports.connect(EVENT_CONNECTION_ID, ports.create_host_event_port(self._signal))
        self._answers = ports.create_message_port(self._target(0, DEFAULT_SINT))

    def reset(self) -> None:
        """Forget the guest, as a reset of the partition does."""
        self.version = None
        self._answers.target = self._target(0, DEFAULT_SINT)

    def _target(self, vp_index: int, sint: int) -> SintTarget:
        if vp_index not in self._partition.by_index:
            vp_index = self._partition.bootstrap.index
        return SintTarget(vp_index, sint if sint < SINT_COUNT else DEFAULT_SINT)

    def _signal(self, event: SignaledEvent) -> None:
        """Take a signal to the event connection; there is no channel that it could be for."""
        self.signals += 1

    def _receive(self, message: PostedMessage) -> bool:
        """Take a message; False while the guest has not taken enough of the answers before."""
        payload = message.payload
        if message.message_type != CHANNEL_MESSAGE_TYPE or len(payload) < _HEADER.size:
            self.ignored += 1
            return True
        kind, _ = _HEADER.unpack_from(payload)
        if kind == ChannelMessage.INITIATE_CONTACT:
            return self._initiate_contact(payload)
        if kind == ChannelMessage.REQUEST_OFFERS and self.version is not None:
            return self._send(ChannelMessage.ALL_OFFERS_DELIVERED)
        if kind == ChannelMessage.UNLOAD:
            # A guest that panics unloads whatever state it is in, and waits for the answer.
            self.version = None
            return self._send(ChannelMessage.UNLOAD_COMPLETE)
        self.ignored += 1
        return True

    def _initiate_contact(self, payload: bytes) -> bool:
        if len(payload) < _HEADER.size + _CONTACT.size:
            self.ignored += 1
            return True
        version, vp_index, sint, _, _, _, _, _ = _CONTACT.unpack_from(payload, _HEADER.size)
        # In older versions the target information is the address of an interrupt page.
        has_target = version >= _FIRST_VERSION_WITH_TARGET
        self._answers.target = self._target(vp_index, sint if has_target else DEFAULT_SINT)
        supported = version in VERSIONS
        self.version = version if supported else None
        answer = 0
        if supported:
            answer = MESSAGE_CONNECTION_ID_4 if has_target else version
        return self._send(
            ChannelMessage.VERSION_RESPONSE, struct.pack("<BBHI", supported, 0, 0, answer)
        )

    def _send(self, kind: ChannelMessage, body: bytes = b"") -> bool:
        status = self._answers.post(CHANNEL_MESSAGE_TYPE, _HEADER.pack(kind, 0) + body)
        # A guest whose SynIC is off asked for an answer that it cannot get; that is its choice.
        return status is not HvStatus.INSUFFICIENT_BUFFERS
