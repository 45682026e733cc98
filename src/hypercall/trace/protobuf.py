"""Writes messages of protocol buffers: the few kinds of fields that a trace needs.

Source: protobuf.dev, "Encoding". A message is its fields one after another; each has a tag, which
is the field's number times eight plus its wire type, and a value.
"""

from __future__ import annotations

from struct import Struct

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_U64 = Struct("<Q")
_MASK = (1 << 64) - 1


def varint(value: int) -> bytes:
    """Return a number from 0 to 2**64 - 1 in groups of seven bits, the lowest first."""
    value &= _MASK
    if value < 0x80:
        return bytes((value,))
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def number_field(number: int, value: int) -> bytes:
    """Return a field of a number: unsigned, an enumeration or a truth value."""
    return varint(number << 3 | _VARINT) + varint(value)


def fixed64_field(number: int, value: int) -> bytes:
    """Return a field of a number that always takes eight bytes."""
    return varint(number << 3 | _FIXED64) + _U64.pack(value & _MASK)


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a field of bytes or of a message."""
    return varint(number << 3 | _BYTES) + varint(len(value)) + value


def text_field(number: int, value: str) -> bytes:
    """Return a field of text; what UTF-8 cannot hold becomes a question mark."""
    return bytes_field(number, value.encode("utf-8", "replace"))
