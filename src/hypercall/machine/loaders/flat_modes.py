"""The processor modes in which guests are entered: flat protected mode and long mode.

Both use one descriptor table: 0x08 is 32-bit code, 0x10 64-bit code and 0x18 data, which are the
selectors that the Linux boot protocol asks for. Long mode maps the first 4 GiB one to one with
2 MiB pages.
"""

import struct
from dataclasses import replace

from hypercall.machine.loaders.entry import EntryKind, EntryState, LoaderMemory, Segment
from hypercall.machine.loaders.placement import (
    GDT_ADDRESS,
    PAGE_SIZE,
    PAGE_TABLE_ADDRESS,
    RETURN_ADDRESS,
)

_GDT = struct.pack("<4Q", 0, 0x00CF_9B00_0000_FFFF, 0x00AF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF)
_CODE_32 = Segment(0x08, 0, 0xFFFF_FFFF, 0xC09B)
_CODE_64 = Segment(0x10, 0, 0xFFFF_FFFF, 0xA09B)
_DATA = Segment(0x18, 0, 0xFFFF_FFFF, 0xC093)

_DIRECTORY_COUNT = 4
# Present, writable, accessed; a large page is dirty too, so that the processor need not mark it.
_TABLE_BITS = 0x23
_LARGE_PAGE_BITS = 0xE3

_CR0_PROTECTED = 0x0000_0011
_CR0_PAGED = 0x8001_0031
_CR4_PAE = 0x20
_EFER_LONG_MODE = 0x500
# OSFXSR, OSXMMEXCPT and CR0.MP: guests compiled from C use SSE without asking.
_CR4_SSE = 0x600
_CR0_MONITOR_COPROCESSOR = 0x2

# out 0xF4, eax; cli; hlt; jmp back to the cli: the same bytes in 32-bit and 64-bit code.
_RETURN_CODE = bytes.fromhex("e7f4faf4ebfc")


def write_descriptor_table(memory: LoaderMemory) -> None:
    """Put the descriptor table into memory."""
    memory.write(GDT_ADDRESS, _GDT)


def write_return_code(memory: LoaderMemory) -> None:
    """Put the code in memory that an image's entry function may return to.

    It writes EAX to the exit port 0xF4, so that a function that returns 0 is a guest that passed.
    """
    memory.write(RETURN_ADDRESS, _RETURN_CODE)


def write_identity_map(memory: LoaderMemory) -> None:
    """Put page tables into memory that map the first 4 GiB one to one."""
    pointers = PAGE_TABLE_ADDRESS + PAGE_SIZE
    directories = pointers + PAGE_SIZE
    memory.write(PAGE_TABLE_ADDRESS, struct.pack("<Q", pointers | _TABLE_BITS).ljust(4096, b"\0"))
    entries = [(directories + n * PAGE_SIZE) | _TABLE_BITS for n in range(_DIRECTORY_COUNT)]
    memory.write(pointers, struct.pack(f"<{_DIRECTORY_COUNT}Q", *entries).ljust(4096, b"\0"))
    pages = [(n << 21) | _LARGE_PAGE_BITS for n in range(512 * _DIRECTORY_COUNT)]
    memory.write(directories, struct.pack(f"<{len(pages)}Q", *pages))


def protected_mode(
    memory: LoaderMemory,
    kind: EntryKind,
    rip: int,
    *,
    rsp: int = 0,
    general: dict[str, int] | None = None,
    sse: bool = False,
    symbols: bytes | None = None,
) -> EntryState:
    """Write the descriptor table and give the registers of an entry in flat protected mode."""
    write_descriptor_table(memory)
    return EntryState(
        kind=kind,
        rip=rip,
        rsp=rsp,
        general=general or {},
        cr0=_CR0_PROTECTED | (_CR0_MONITOR_COPROCESSOR if sse else 0),
        cr3=0,
        cr4=_CR4_SSE if sse else 0,
        efer=0,
        cs=_CODE_32,
        data=_DATA,
        gdt_base=GDT_ADDRESS,
        gdt_limit=len(_GDT) - 1,
        symbols=symbols,
    )


def long_mode(
    memory: LoaderMemory,
    kind: EntryKind,
    rip: int,
    *,
    rsp: int = 0,
    general: dict[str, int] | None = None,
    sse: bool = False,
    symbols: bytes | None = None,
) -> EntryState:
    """Write the tables for long mode and give the registers of an entry in it."""
    write_identity_map(memory)
    flat = protected_mode(memory, kind, rip, rsp=rsp, general=general, sse=sse, symbols=symbols)
    return replace(
        flat,
        cr0=flat.cr0 | _CR0_PAGED,
        cr3=PAGE_TABLE_ADDRESS,
        cr4=flat.cr4 | _CR4_PAE,
        efer=_EFER_LONG_MODE,
        cs=_CODE_64,
    )
