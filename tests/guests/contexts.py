"""Initial contexts for the calls that start a processor, by the guest kit's descriptor table."""

import struct
from dataclasses import replace
from typing import Any

from tests.guests.layout import (
    CODE_32,
    CODE_64,
    DATA_64,
    GDT,
    IDENTITY_TABLES,
    IDT,
    STACK_SIZE,
    STACKS,
    TASK,
    TSS,
)

from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister, TableRegister

_DATA = SegmentRegister(0, 0xFFFFFFFF, DATA_64, 0xC093)
LONG_MODE = InitialVpContext(
    rip=0,
    rsp=STACKS + 2 * STACK_SIZE - 16,
    rflags=2,
    cs=SegmentRegister(0, 0xFFFFFFFF, CODE_64, 0xA09B),
    ds=_DATA,
    es=_DATA,
    fs=_DATA,
    gs=_DATA,
    ss=_DATA,
    tr=SegmentRegister(TSS, 0x67, TASK, 0x8B),
    ldtr=SegmentRegister(0, 0, 0, 0x82),
    idtr=TableRegister(0xFFF, IDT),
    gdtr=TableRegister(0x57, GDT),
    efer=0xD00,
    cr0=0x80050033,
    cr3=IDENTITY_TABLES,
    cr4=0x620,
    pat=0x0007040600070406,
)
"""The case list's CTX64, at the kit's tables; the stack is that of slot 1."""

PROTECTED_MODE = replace(
    LONG_MODE, cs=SegmentRegister(0, 0xFFFFFFFF, CODE_32, 0xC09B), efer=0, cr0=0x11, cr4=0
)
"""The case list's CTX32."""


def words_of(context: InitialVpContext = LONG_MODE, **changes: Any) -> tuple[int, ...]:
    """The 28 words of a context, with some registers changed."""
    return struct.unpack("<28Q", replace(context, **changes).pack())
