"""The numbers and ranges in packets, read strictly."""

import re

from hypercall.errors import InputError

_HEX = re.compile(rb"[0-9a-fA-F]{1,16}")
_ADDRESSES = 1 << 64


def hex_number(text: bytes) -> int:
    """A number of at most 64 bits in hexadecimal digits, and nothing else.

    Raises:
        InputError: it is none.
    """
    if _HEX.fullmatch(text) is None:
        raise InputError(f"{text[:40]!r} is no hexadecimal number")
    return int(text, 16)


def hex_bytes(text: bytes) -> bytes:
    """Bytes from pairs of hexadecimal digits.

    Raises:
        InputError: the text is something else.
    """
    if len(text) % 2 or not re.fullmatch(rb"[0-9a-fA-F]*", text):
        raise InputError("there is something else among the hexadecimal digits")
    return bytes.fromhex(text.decode())


def address_range(text: bytes) -> tuple[int, int]:
    """An address and a length, with a comma between; the end is within 64 bits.

    Raises:
        InputError: it is none.
    """
    first, comma, second = text.partition(b",")
    address, length = hex_number(first), hex_number(second)
    if not comma or address + length > _ADDRESSES:
        raise InputError(f"{text[:40]!r} is no range of addresses")
    return address, length


def thread_number(text: bytes) -> int:
    """A thread: a number, -1 for all and 0 for any; a process before it is passed over.

    Raises:
        InputError: it is none.
    """
    if text.startswith(b"p"):
        _, _, text = text.partition(b".")
        text = text or b"-1"
    return -1 if text == b"-1" else hex_number(text)
