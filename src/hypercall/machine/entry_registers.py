"""Puts what a loader says of the first instruction into the boot processor's registers."""

from hypercall.cpu.registers import ProcessorRegisters
from hypercall.machine.loaders import EntryState, Segment
from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister, TableRegister
from hypercall.tlfs.registers import RegisterName

_PAT_AT_RESET = 0x0007040600070406


def _register(segment: Segment) -> SegmentRegister:
    return SegmentRegister(segment.base, segment.limit, segment.selector, segment.attributes)


def load_entry(registers: ProcessorRegisters, context: int, entry: EntryState) -> None:
    """Set the registers of a context.

    Args:
        registers: the registers of the engine.
        context: the number of the boot processor's context.
        entry: what the loader returned.
    """
    data = _register(entry.data)
    registers.write_context(
        context,
        InitialVpContext(
            rip=entry.rip,
            rsp=entry.rsp,
            rflags=entry.rflags,
            cs=_register(entry.cs),
            ds=data,
            es=data,
            fs=data,
            gs=data,
            ss=data,
            tr=_register(entry.tr),
            ldtr=_register(entry.ldtr),
            idtr=TableRegister(entry.idt_limit, entry.idt_base),
            gdtr=TableRegister(entry.gdt_limit, entry.gdt_base),
            efer=entry.efer,
            cr0=entry.cr0,
            cr3=entry.cr3,
            cr4=entry.cr4,
            pat=_PAT_AT_RESET,
        ),
    )
    for number in range(16):
        name = RegisterName(RegisterName.RAX + number)
        if name is not RegisterName.RSP:
            registers.write(context, name, entry.general.get(name.name.lower(), 0))
