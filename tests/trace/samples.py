"""Calls as a trace has them."""

import struct
from typing import Any

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS


def send_ipi_record(**changes: Any) -> CallRecord:
    """An IPI in registers from VP 1 to VP 0, 2 and 3, with some attributes changed."""
    record = CallRecord(
        vp_index=1,
        vtl=0,
        declaration=DECLARATIONS.by_code[0x0B],
        control=0x1000B,
        fast=True,
        input_register=0xFB,
        output_register=0b1101,
        input=struct.pack("<IIQ", 0xFB, 0, 0b1101),
        result=0,
        entered_at=1_234,
        left_at=1_334,
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record
