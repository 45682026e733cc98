"""The registers with which processors begin, as a call may give them."""

from dataclasses import replace

from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister, TableRegister

CODE_64 = SegmentRegister(0, 0xFFFFFFFF, 0x10, 0xA09B)
CODE_32 = replace(CODE_64, attributes=0xC09B)
DATA = SegmentRegister(0, 0xFFFFFFFF, 0x18, 0xC093)
TASK = SegmentRegister(0x300000, 0x67, 0x28, 0x8B)
LOCAL = SegmentRegister(0, 0, 0, 0x82)
LONG = InitialVpContext(
    rip=0x100000,
    rsp=0x200000,
    rflags=2,
    cs=CODE_64,
    ds=DATA,
    es=DATA,
    fs=DATA,
    gs=DATA,
    ss=DATA,
    tr=TASK,
    ldtr=LOCAL,
    idtr=TableRegister(0xFFF, 0x301000),
    gdtr=TableRegister(0x7F, 0x302000),
    efer=0xD00,
    cr0=0x80050033,
    cr3=0x1000,
    cr4=0x20,
    pat=0x0007040600070406,
)
PROTECTED = replace(LONG, cs=CODE_32, efer=0, cr0=0x11, cr4=0)
