"""A guest whose processors have virtual trust levels above 0."""

import struct
from typing import Any

from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister, TableRegister
from hypercall.tlfs.registers import RegisterName as R

SELF = (1 << 64) - 1
OWN_VP = 0xFFFFFFFE
ENABLE_PROTECTIONS = 1
READ_WRITE_EXECUTE = 0xF

CONTEXT_64 = InitialVpContext(
    rip=0x100000,
    rsp=0x200000,
    cs=SegmentRegister(0, 0xFFFFFFFF, 0x10, 0xA09B),
    ss=SegmentRegister(0, 0xFFFFFFFF, 0x18, 0xC093),
    tr=SegmentRegister(0x300000, 0x67, 0x28, 0x8B),
    ldtr=SegmentRegister(0, 0, 0, 0x82),
    idtr=TableRegister(0xFFF, 0x301000),
    gdtr=TableRegister(0x7F, 0x302000),
    efer=0xD00,
    cr0=0x80050033,
    cr3=0x1000,
    cr4=0x20,
    pat=0x0007040600070406,
)
CONTEXT_32 = InitialVpContext(
    rip=0x100000,
    rsp=0x200000,
    cs=SegmentRegister(0, 0xFFFFFFFF, 0x10, 0xC09B),
    ss=SegmentRegister(0, 0xFFFFFFFF, 0x18, 0xC093),
    tr=SegmentRegister(0x300000, 0x67, 0x28, 0x8B),
    ldtr=SegmentRegister(0, 0, 0, 0x82),
    idtr=TableRegister(0xFFF, 0x301000),
    gdtr=TableRegister(0x7F, 0x302000),
    cr0=0x11,
    pat=0x0007040600070406,
)


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
