"""The calls that the benchmarks make: one of each shape."""

import struct
from dataclasses import dataclass

from hypercall.tlfs.calls import Call
from hypercall.tlfs.control import ControlWord

INPUT_GPA = 0x300000
OUTPUT_GPA = 0x301000
_FIRST_GVA = 0x4000_0000
_ALL_PROCESSORS = 1
_ANY_ADDRESS_SPACE = 2


@dataclass(frozen=True)
class Shape:
    """A call.

    Attributes:
        name: what it is called in the tables.
        control: the control word.
        input: RDX.
        output: R8.
        page: what lies in guest memory at `INPUT_GPA`.
        reps: its repetitions; 1 for a simple call.
    """

    name: str
    control: int
    input: int
    output: int
    page: bytes = b""
    reps: int = 1


def _flush_list(reps: int) -> Shape:
    header = struct.pack("<3Q", 0, _ALL_PROCESSORS | _ANY_ADDRESS_SPACE, 0)
    elements = [_FIRST_GVA + number * 0x2000 for number in range(reps)]
    control = ControlWord(code=Call.FLUSH_VIRTUAL_ADDRESS_LIST, rep_count=reps).value
    return Shape(
        f"rep call, memory, {reps}",
        control,
        INPUT_GPA,
        0,
        header + struct.pack(f"<{reps}Q", *elements),
        reps,
    )


SHAPES = (
    Shape("simple, fast", ControlWord(code=Call.NOTIFY_LONG_SPIN_WAIT, fast=True).value, 1, 0),
    Shape(
        "simple, memory",
        ControlWord(code=Call.FLUSH_VIRTUAL_ADDRESS_SPACE).value,
        INPUT_GPA,
        0,
        struct.pack("<3Q", 0, _ALL_PROCESSORS | _ANY_ADDRESS_SPACE, 0),
    ),
    _flush_list(1),
    _flush_list(64),
    _flush_list(500),
)
"""HvCallNotifyLongSpinWait, HvCallFlushVirtualAddressSpace and HvCallFlushVirtualAddressList."""
