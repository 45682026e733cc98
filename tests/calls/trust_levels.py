"""A guest whose processors have virtual trust levels above 0."""

import struct
from typing import Any

from tests.initial_contexts import LONG, PROTECTED

from hypercall.tlfs.initial_context import InitialVpContext
from hypercall.tlfs.registers import RegisterName as R

SELF = (1 << 64) - 1
OWN_VP = 0xFFFFFFFE
ENABLE_PROTECTIONS = 1
READ_WRITE_EXECUTE = 0xF

CONTEXT_64, CONTEXT_32 = LONG, PROTECTED


def context_words(context: InitialVpContext) -> tuple[int, ...]:
    """The 28 words of a context as they stand in a call's input."""
    return struct.unpack("<28Q", context.pack())


def enable(guest: Any, vtl: int = 1, vps: tuple[int, ...] = (0,), *, mbec: bool = False) -> None:
    """Enable a VTL for the partition and on processors, with hypercalls enabled in it."""
    partition = guest.partition
    partition.vsm.enable_partition_vtl(vtl, mbec=mbec)
    for index in vps:
        partition.vsm.enable_vp_vtl(guest.vp(index), vtl, CONTEXT_64)
    state = guest.vp(vps[0]).vtls[vtl]
    partition.msrs.write_in(state, 0x40000000, 1 << 63)
    partition.msrs.write_in(state, 0x40000001, 0x1001 + (vtl << 12))


def enter(guest: Any, vtl: int, vp: int = 0) -> None:
    """Let a processor run in a VTL, by as many VTL calls or returns as it takes."""
    processor = guest.vp(vp)
    while processor.active_vtl < vtl:
        assert guest.partition.vsm.vtl_call(processor)
    while processor.active_vtl > vtl:
        assert guest.partition.vsm.vtl_return(processor, True)
    guest.effects.clear()


def protect(guest: Any, vtl: int = 1, mask: int = READ_WRITE_EXECUTE) -> None:
    """Enable the protections of a VTL."""
    state = guest.vp().vtls[vtl]
    guest.partition.registers.write(state, R.VSM_PARTITION_CONFIG, ENABLE_PROTECTIONS | mask << 1)
