"""Which values the registers of an x64 processor can have (Intel SDM, volume 3, chapter 2)."""

from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister

CR0_PROTECTION = 1 << 0
CR0_NOT_WRITE_THROUGH = 1 << 29
CR0_CACHE_DISABLE = 1 << 30
CR0_PAGING = 1 << 31

CR4_PAE = 1 << 5
CR4_PCIDE = 1 << 17
_CR4_ABSENT = 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15 | 1 << 19
"""Five-level paging, VMX and SMX, which the processor does not have, and the undefined bits."""
_CR4_DEFINED = ((1 << 26) - 1) & ~_CR4_ABSENT

EFER_LONG_MODE_ENABLE = 1 << 8
EFER_LONG_MODE_ACTIVE = 1 << 10
EFER_NO_EXECUTE = 1 << 11
_EFER_DEFINED = 1 << 0 | EFER_LONG_MODE_ENABLE | EFER_LONG_MODE_ACTIVE | EFER_NO_EXECUTE

RFLAGS_FIXED = 1 << 1
RFLAGS_VIRTUAL_8086 = 1 << 17
_RFLAGS_RESERVED = ~((1 << 22) - 1) | 1 << 3 | 1 << 5 | 1 << 15

SEGMENT_PRESENT = 1 << 7
SEGMENT_CODE_OR_DATA = 1 << 4
SEGMENT_LONG = 1 << 13
SEGMENT_DEFAULT_BIG = 1 << 14
_SEGMENT_TYPE = 0xF
_SEGMENT_RESERVED = 0xF00
_TYPE_CODE = 8
_TYPE_WRITABLE = 2
_TYPE_LDT = 2
_TYPES_BUSY_TSS = (3, 11)

_PAT_TYPES = frozenset({0, 1, 4, 5, 6, 7})


def canonical(address: int) -> bool:
    """Return whether bits 63:47 of a 64-bit address are all alike."""
    return address >> 47 in (0, 0x1FFFF)


def valid_cr0(value: int) -> bool:
    """Return whether CR0 can have the value."""
    if value >> 32 or (value & CR0_PAGING and not value & CR0_PROTECTION):
        return False
    return bool(value & CR0_CACHE_DISABLE) or not value & CR0_NOT_WRITE_THROUGH


def valid_cr3(value: int, address_bits: int) -> bool:
    """Return whether CR3 can have the value: bits from `address_bits` on are reserved."""
    return value >> address_bits == 0


def valid_cr4(value: int) -> bool:
    """Return whether CR4 can have the value."""
    return value & ~_CR4_DEFINED == 0


def valid_efer(value: int) -> bool:
    """Return whether EFER can have the value."""
    return value & ~_EFER_DEFINED == 0


def valid_rflags(value: int) -> bool:
    """Return whether RFLAGS can have the value."""
    return value & _RFLAGS_RESERVED == 0 and bool(value & RFLAGS_FIXED)


def valid_pat(value: int) -> bool:
    """Return whether IA32_PAT can have the value: eight memory types, one a byte."""
    return all(byte in _PAT_TYPES for byte in value.to_bytes(8, "little"))


def valid_segment(attributes: int) -> bool:
    """Return whether the attributes of HV_X64_SEGMENT_REGISTER have no reserved bits set."""
    return attributes & _SEGMENT_RESERVED == 0


def valid_initial_context(context: InitialVpContext, address_bits: int) -> bool:
    """Return whether a virtual processor could run from an initial context.

    It starts in protected or long mode, never in real mode (TLFS, HvCallStartVirtualProcessor).
    Data segments may be null, as Linux leaves them.

    Args:
        context: the registers.
        address_bits: the width of a physical address.
    """
    long_mode = bool(context.efer & EFER_LONG_MODE_ACTIVE)
    registers_valid = (
        valid_rflags(context.rflags)
        and valid_cr0(context.cr0)
        and bool(context.cr0 & CR0_PROTECTION)
        and valid_cr3(context.cr3, address_bits)
        and valid_cr4(context.cr4)
        and valid_efer(context.efer)
        and valid_pat(context.pat)
    )
    if not registers_valid or context.rflags & RFLAGS_VIRTUAL_8086:
        return False
    paged_and_enabled = context.cr0 & CR0_PAGING and context.efer & EFER_LONG_MODE_ENABLE
    if long_mode != bool(paged_and_enabled) or (long_mode and not context.cr4 & CR4_PAE):
        return False
    if context.cr4 & CR4_PCIDE and not long_mode:
        return False
    return _valid_code_segment(context.cs, long_mode) and _valid_pointers(context, long_mode)


def _valid_code_segment(cs: SegmentRegister, long_mode: bool) -> bool:
    required = SEGMENT_PRESENT | SEGMENT_CODE_OR_DATA | _TYPE_CODE
    if cs.attributes & required != required or not valid_segment(cs.attributes):
        return False
    long_code = bool(cs.attributes & SEGMENT_LONG)
    return not long_code or (long_mode and not cs.attributes & SEGMENT_DEFAULT_BIG)


def _valid_pointers(context: InitialVpContext, long_mode: bool) -> bool:
    """Check the segments other than CS, the tables, and the instruction and stack pointers."""
    if long_mode and context.cs.attributes & SEGMENT_LONG:
        if not canonical(context.rip) or not canonical(context.rsp):
            return False
    elif context.rip >> 32 or context.rsp >> 32:
        return False
    stack, task, local = context.ss.attributes, context.tr.attributes, context.ldtr.attributes
    data = SEGMENT_CODE_OR_DATA | _TYPE_WRITABLE
    if stack & SEGMENT_PRESENT and stack & (data | _TYPE_CODE) != data:
        return False
    if task & (SEGMENT_PRESENT | SEGMENT_CODE_OR_DATA) != SEGMENT_PRESENT:
        return False
    if task & _SEGMENT_TYPE not in _TYPES_BUSY_TSS:
        return False
    if local & SEGMENT_PRESENT and local & (SEGMENT_CODE_OR_DATA | _SEGMENT_TYPE) != _TYPE_LDT:
        return False
    segments = (context.ds, context.es, context.fs, context.gs, context.ss, context.tr)
    if not all(valid_segment(segment.attributes) for segment in (*segments, context.ldtr)):
        return False
    bases = (context.fs, context.gs, context.tr, context.ldtr, context.idtr, context.gdtr)
    return all(canonical(holder.base) for holder in bases)
