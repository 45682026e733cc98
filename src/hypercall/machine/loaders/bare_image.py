"""Loads guests without a boot protocol: plain static ELF files and flat binaries.

Their first instruction is entered like a C function with four arguments: the address of the
NUL-terminated command line, its length in bytes, the address of the initial RAM disk and its
length in bytes (both 0 without one). 64-bit guests get them in RDI, RSI, RDX and RCX, 32-bit
guests on the stack. The stack is 64 KiB. SSE is enabled. The entry may return: the value that it
returns in EAX goes to the exit port, so that 0 is a pass.
"""

import struct

from hypercall.machine.loaders.elf_image import load_segments, parse_elf
from hypercall.machine.loaders.entry import EntryKind, EntryState, LoaderMemory
from hypercall.machine.loaders.flat_modes import long_mode, protected_mode, write_return_code
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.linux import DEFAULT_INITRD_HIGHEST
from hypercall.machine.loaders.placement import (
    COMMAND_LINE_ADDRESS,
    RETURN_ADDRESS,
    STACK_TOP,
    align_up,
    place_initrd,
    require_low_memory,
    require_ram,
    write_command_line,
)

#: Where a flat binary is loaded and entered.
FLAT_ADDRESS = 0x100000


def load_flat(
    reader: ImageReader, memory: LoaderMemory, initrd: bytes | None, append: str
) -> EntryState:
    """Load a flat binary at 0x100000 and enter its first byte in long mode.

    Raises:
        InputError: it does not fit.
    """
    require_low_memory(reader, memory)
    require_ram(reader, memory, FLAT_ADDRESS, len(reader.data), "the flat binary")
    memory.write(FLAT_ADDRESS, reader.data)
    return _enter(
        reader,
        memory,
        EntryKind.FLAT,
        FLAT_ADDRESS,
        FLAT_ADDRESS + len(reader.data),
        initrd,
        append,
        None,
    )


def load_plain_elf(
    reader: ImageReader, memory: LoaderMemory, initrd: bytes | None, append: str
) -> EntryState:
    """Load a static ELF file and enter it: 64-bit ones in long mode, 32-bit ones in flat mode.

    Raises:
        InputError: it is broken, does not fit, or needs a dynamic linker.
    """
    require_low_memory(reader, memory)
    image = parse_elf(reader)
    if image.interpreted or image.position_independent:
        raise reader.fail(
            "the ELF file needs a dynamic linker; link it with -static -no-pie for a fixed address"
        )
    if not image.holds(image.entry):
        raise reader.fail(
            f"the entry {image.entry:#x} is at no physical address of the image; link it again"
        )
    load_segments(reader, image.segments, memory)
    return _enter(
        reader,
        memory,
        EntryKind.ELF64 if image.bits == 64 else EntryKind.ELF32,
        image.entry,
        image.end(),
        initrd,
        append,
        reader.data if image.has_symbols else None,
    )


def _enter(
    reader: ImageReader,
    memory: LoaderMemory,
    kind: EntryKind,
    entry: int,
    end: int,
    initrd: bytes | None,
    append: str,
    symbols: bytes | None,
) -> EntryState:
    length = write_command_line(reader, memory, append)
    initrd_address, initrd_length = 0, 0
    if initrd is not None:
        initrd_length = len(initrd)
        initrd_address = place_initrd(
            reader,
            memory,
            initrd,
            lowest=max(align_up(end, 0x1000), FLAT_ADDRESS),
            highest=DEFAULT_INITRD_HIGHEST,
        )
    write_return_code(memory)
    arguments = (COMMAND_LINE_ADDRESS, length, initrd_address, initrd_length)
    if kind is EntryKind.ELF32:
        # After a call the stack pointer plus 4 is a multiple of 16, as the psABI has it.
        stack = STACK_TOP - 36
        memory.write(stack, struct.pack("<5I", RETURN_ADDRESS, *arguments))
        return protected_mode(memory, kind, entry, rsp=stack, sse=True, symbols=symbols)
    stack = STACK_TOP - 24
    memory.write(stack, struct.pack("<Q", RETURN_ADDRESS))
    general = dict(zip(("rdi", "rsi", "rdx", "rcx"), arguments, strict=True))
    return long_mode(memory, kind, entry, rsp=stack, general=general, sse=True, symbols=symbols)
