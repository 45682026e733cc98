"""The packets of GDB's remote serial protocol: framing, checksums and escapes.

A packet is ``$``, its payload, ``#`` and two hexadecimal digits of the sum of the payload's bytes;
``}`` in a payload says that the next byte was combined with 0x20 (GDB manual, Remote Serial
Protocol, Overview).
"""

from enum import Enum, auto

MOST_PAYLOAD = 0x4000
"""The longest payload that is taken, in bytes; longer packets are refused."""

_START, _END, _ESCAPE, _REPEAT = b"$#}*"
_TOGGLE = 0x20
_SPECIAL = frozenset((_START, _END, _ESCAPE, _REPEAT))
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Signal(Enum):
    """What comes between packets."""

    INTERRUPT = auto()
    """The user pressed Ctrl-C."""
    ACKNOWLEDGED = auto()
    """The last packet that was sent arrived."""
    REPEAT = auto()
    """The last packet that was sent did not arrive whole."""
    DAMAGED = auto()
    """A packet came whose checksum is wrong, or which is too long."""


def checksum(data: bytes) -> int:
    """The sum of bytes, modulo 256."""
    return sum(data) & 0xFF


def escape(data: bytes) -> bytes:
    """Binary data as it may stand in a payload."""
    if not _SPECIAL.intersection(data):
        return data
    result = bytearray()
    for byte in data:
        if byte in _SPECIAL:
            result += bytes((_ESCAPE, byte ^ _TOGGLE))
        else:
            result.append(byte)
    return bytes(result)


def unescape(payload: bytes) -> bytes:
    """The reverse of `escape`; an escape at the end stands for nothing."""
    if _ESCAPE not in payload:
        return payload
    result = bytearray()
    escaped = False
    for byte in payload:
        if escaped:
            result.append(byte ^ _TOGGLE)
            escaped = False
        elif byte == _ESCAPE:
            escaped = True
        else:
            result.append(byte)
    return bytes(result)


def frame(payload: bytes) -> bytes:
    """A payload, which is escaped where need be, as a packet."""
    return b"$%b#%02x" % (payload, checksum(payload))


class PacketReader:
    """Takes the other end's bytes apart, in whatever pieces they come."""

    def __init__(self) -> None:
        self._payload: bytearray | None = None
        self._sum = b""
        self._in_sum = False
        self._too_long = False

    def feed(self, data: bytes) -> list[bytes | Signal]:
        """Take bytes.

        Args:
            data: what came.

        Returns:
            What is complete with them, in its order: payloads as they were sent (escaped), and
            signals. What is between packets and means nothing is passed over.
        """
        found: list[bytes | Signal] = []
        position = 0
        while position < len(data):
            if self._in_sum:
                self._sum += data[position : position + 1]
                position += 1
                if len(self._sum) == 2:
                    found.append(self._complete())
            elif self._payload is not None:
                position = self._take_payload(data, position)
            else:
                self._between(data[position], found)
                position += 1
        return found

    def _take_payload(self, data: bytes, position: int) -> int:
        """Take bytes of a payload up to its end; return where what follows them is."""
        assert self._payload is not None
        end = data.find(b"#", position)
        # A packet that breaks off is followed by another one.
        start = data.find(b"$", position, end if end >= 0 else len(data))
        if start >= 0:
            self._payload = bytearray()
            self._too_long = False
            return start + 1
        piece = data[position : end if end >= 0 else len(data)]
        if len(self._payload) + len(piece) > MOST_PAYLOAD:
            self._too_long = True
            self._payload.clear()
        if not self._too_long:
            self._payload += piece
        if end < 0:
            return len(data)
        self._in_sum = True
        self._sum = b""
        return end + 1

    def _complete(self) -> bytes | Signal:
        payload = bytes(self._payload or b"")
        whole = (
            not self._too_long
            and _HEX.issuperset(self._sum)
            and int(self._sum, 16) == checksum(payload)
        )
        self._payload = None
        self._in_sum = False
        self._too_long = False
        return payload if whole else Signal.DAMAGED

    def _between(self, byte: int, found: list[bytes | Signal]) -> None:
        if byte == _START:
            self._payload = bytearray()
        elif byte == 0x03:
            found.append(Signal.INTERRUPT)
        elif byte == ord("+"):
            found.append(Signal.ACKNOWLEDGED)
        elif byte == ord("-"):
            found.append(Signal.REPEAT)
