"""Records of calls, made from what a guest passes."""

import struct

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS


def record(control: int, *words: int, first: int = 0x5000, second: int = 0) -> CallRecord:
    """A call with its input as words of 8 bytes; in memory unless the control word says fast."""
    data = struct.pack(f"<{len(words)}Q", *words)
    fast = bool(control & 1 << 16)
    declaration = DECLARATIONS.by_code.get(control & 0xFFFF)
    return CallRecord(0, 0, declaration, control, fast, first, second, input=data, result=0)
