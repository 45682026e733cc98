"""The contact point of the VMBus: it answers a guest that looks for the bus, and has no devices.

A guest posts INITIATE_CONTACT with the protocol version that it wants; the host answers on the
SINT and virtual processor that the guest names. Sources: Linux include/linux/hyperv.h and
drivers/hv/connection.c, OpenVMM vmbus_core/src/protocol.rs.
"""

import struct
from collections.abc import Callable
from enum import IntEnum

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
_SINT_COUNT = 16
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
    """The host's side of an empty VMBus.

    Args:
        post: called as ``post(vp_index, sint, message_type, payload)`` to send a message.
        vp_count: VP indexes from here on are taken for 0.

    Attributes:
        version: the protocol version that was agreed on, None before and after.
        signals: how often the guest signalled the event connection.
        ignored: how many messages had no meaning here.
    """

    def __init__(self, post: Callable[[int, int, int, bytes], None], vp_count: int) -> None:
        self.version: int | None = None
        self.signals = 0
        self.ignored = 0
        self._post = post
        self._vp_count = vp_count
        self._vp_index = 0
        self._sint = DEFAULT_SINT

    def receive(self, message_type: int, payload: bytes) -> None:
        """Take a message that the guest posted to one of the message connections.

        Args:
            message_type: the message's type.
            payload: up to 240 bytes: the channel message's type, four bytes of padding, and what
                belongs to the type.
        """
        if message_type != CHANNEL_MESSAGE_TYPE or len(payload) < _HEADER.size:
            self.ignored += 1
            return
        kind, _ = _HEADER.unpack_from(payload)
        if kind == ChannelMessage.INITIATE_CONTACT:
            self._initiate_contact(payload)
        elif kind == ChannelMessage.REQUEST_OFFERS and self.version is not None:
            self._send(ChannelMessage.ALL_OFFERS_DELIVERED)
        elif kind == ChannelMessage.UNLOAD:
            # A guest that panics unloads whatever state it is in, and waits for the answer.
            self.version = None
            self._send(ChannelMessage.UNLOAD_COMPLETE)
        else:
            self.ignored += 1

    def signal(self, flag: int) -> None:
        """Take a signal to the event connection; there is no channel that it could be for."""
        self.signals += 1

    def _initiate_contact(self, payload: bytes) -> None:
        if len(payload) < _HEADER.size + _CONTACT.size:
            self.ignored += 1
            return
        version, vp_index, sint, _, _, _, _, _ = _CONTACT.unpack_from(payload, _HEADER.size)
        # In older versions the target information is the address of an interrupt page.
        has_target = version >= _FIRST_VERSION_WITH_TARGET
        self._sint = sint if has_target and sint < _SINT_COUNT else DEFAULT_SINT
        self._vp_index = vp_index if vp_index < self._vp_count else 0
        supported = version in VERSIONS
        self.version = version if supported else None
        answer = 0
        if supported:
            answer = MESSAGE_CONNECTION_ID_4 if has_target else version
        self._send(ChannelMessage.VERSION_RESPONSE, struct.pack("<BBHI", supported, 0, 0, answer))

    def _send(self, kind: ChannelMessage, body: bytes = b"") -> None:
        self._post(self._vp_index, self._sint, CHANNEL_MESSAGE_TYPE, _HEADER.pack(kind, 0) + body)
