"""What all Linux images have in common: boot parameters and the 64-bit entry.

Source: the x86 boot protocol, Linux Documentation/arch/x86/boot.rst (64-bit boot protocol) and
zero-page.rst.
"""

import struct

from hypercall.machine.loaders.entry import EntryKind, EntryState, LoaderMemory
from hypercall.machine.loaders.flat_modes import long_mode
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.placement import (
    BOOT_PARAMETERS_ADDRESS,
    COMMAND_LINE_ADDRESS,
    SETUP_DATA_ADDRESS,
    align_up,
    place_initrd,
    require_low_memory,
    write_command_line,
)
from hypercall.machine.loaders.setup_header import HEADER_MAGIC, HEADER_START

_BOOT_PARAMETERS_SIZE = 0x1000
_ACPI_RSDP = 0x070
_E820_COUNT = 0x1E8
_E820_TABLE = 0x2D0
_E820_LIMIT = 128
_TYPE_OF_LOADER = 0x210
_INITRD = 0x218
_COMMAND_LINE = 0x228
_UNKNOWN_LOADER = 0xFF
_SETUP_DATA = 0x250
_SETUP_DATA_HEADER = struct.Struct("<QII")
_RANDOM_SEED = 9

#: The last address that an initial RAM disk may cover where the image does not say.
DEFAULT_INITRD_HIGHEST = 0x7FFF_FFFF


def minimal_setup_header() -> bytes:
    """A setup header for a kernel without one, from offset 0x1F1: protocol 2.15, loaded high."""
    header = bytearray(0x268 - HEADER_START)
    struct.pack_into("<H", header, 0x1FE - HEADER_START, 0xAA55)
    struct.pack_into("<4sH", header, 0x202 - HEADER_START, HEADER_MAGIC, 0x020F)
    header[0x211 - HEADER_START] = 1
    return bytes(header)


def enter_linux(
    reader: ImageReader,
    memory: LoaderMemory,
    *,
    kind: EntryKind,
    entry: int,
    setup_header: bytes,
    image_end: int,
    initrd: bytes | None,
    initrd_highest: int,
    append: str,
    command_line_limit: int,
    symbols: bytes | None = None,
) -> EntryState:
    """Write boot parameters, command line, initial RAM disk and tables for a loaded kernel.

    Args:
        reader: the image, named in errors.
        memory: where to put it all.
        kind: which of the kernel's entries it is.
        entry: the physical address of the entry.
        setup_header: the setup header from offset 0x1F1.
        image_end: the first address after all that the kernel needs at its start.
        initrd: an initial RAM disk or None.
        initrd_highest: the last address that it may cover.
        append: the command line.
        command_line_limit: the most bytes that the kernel takes of it.
        symbols: an ELF file with the kernel's symbol table.

    Raises:
        InputError: something does not fit.
    """
    require_low_memory(reader, memory)
    parameters = bytearray(_BOOT_PARAMETERS_SIZE)
    parameters[HEADER_START : HEADER_START + len(setup_header)] = setup_header
    parameters[_TYPE_OF_LOADER] = _UNKNOWN_LOADER
    write_command_line(reader, memory, append, command_line_limit)
    struct.pack_into("<I", parameters, _COMMAND_LINE, COMMAND_LINE_ADDRESS)
    if initrd is not None:
        address = place_initrd(
            reader,
            memory,
            initrd,
            lowest=align_up(image_end, 0x1000),
            highest=initrd_highest or DEFAULT_INITRD_HIGHEST,
        )
        struct.pack_into("<II", parameters, _INITRD, address, len(initrd))
    if memory.random_seed:
        # Without it the kernel looks for randomness in its own timing, which takes a while.
        seed = memory.random_seed
        memory.write(SETUP_DATA_ADDRESS, _SETUP_DATA_HEADER.pack(0, _RANDOM_SEED, len(seed)) + seed)
        struct.pack_into("<Q", parameters, _SETUP_DATA, SETUP_DATA_ADDRESS)
    struct.pack_into("<Q", parameters, _ACPI_RSDP, memory.acpi_rsdp)
    ranges = memory.e820()[:_E820_LIMIT]
    parameters[_E820_COUNT] = len(ranges)
    for index, (start, length, kind_of_memory) in enumerate(ranges):
        struct.pack_into(
            "<QQI", parameters, _E820_TABLE + 20 * index, start, length, kind_of_memory
        )
    memory.write(BOOT_PARAMETERS_ADDRESS, bytes(parameters))
    return long_mode(memory, kind, entry, general={"rsi": BOOT_PARAMETERS_ADDRESS}, symbols=symbols)
