"""Flat guests that are entered at 0x100000 as a function of 64-bit code."""

_OPEN = (
    "53"  # push rbx
    "b900000040 b801000000 ba00000081 0f30"  # wrmsr GUEST_OS_ID, 0x8100000000000001
    "b901000040 b801002000 31d2 0f30"  # wrmsr HYPERCALL, page at 0x200000, enabled
    "bb00002000"  # mov ebx, 0x200000
)
_QUERY = "b901800000 31d2 41b800002100 ffd3"  # HvExtCallQueryCapabilities, output at 0x210000

_WORKS = "b900000002 e2fe"  # mov ecx, 0x2000000; loop: 67 ms


def _spin(count: int) -> str:
    """HvCallNotifyLongSpinWait, fast."""
    return f"b908000100 ba{count.to_bytes(4, 'little').hex()} 4531c0 ffd3"


def _write(text: str) -> str:
    """Write to the serial port."""
    return "66baf803" + "".join(f"b0{byte:02x} ee" for byte in text.encode())


CALLS = bytes.fromhex(_OPEN + _QUERY + _spin(1) + _spin(2) + "31c0 5b c3")
"""Asks for capabilities, tells of two spins, and ends with 0."""

WRITES = bytes.fromhex(
    _OPEN + _write("up\n") + _WORKS + _spin(3) + _write("later\n") + "31c0 5b c3"
)
"""Writes ``up``, makes a call, writes ``later``, and ends with 0."""

HALTS = bytes.fromhex("eb fe")
"""Does nothing for ever."""
