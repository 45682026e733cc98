"""Loads multiboot 1 images, which is what the images of kvm-unit-tests are.

Source: Multiboot Specification version 0.6.96. The guest is entered in flat 32-bit protected mode
with EAX = 0x2BADB002 and EBX = the multiboot information.
"""

import struct
from dataclasses import dataclass

from hypercall.machine.loaders.elf_image import ELF_MAGIC, load_segments, parse_elf
from hypercall.machine.loaders.entry import EntryKind, EntryState, LoaderMemory
from hypercall.machine.loaders.flat_modes import protected_mode
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.placement import (
    COMMAND_LINE_ADDRESS,
    MULTIBOOT_ADDRESS,
    align_up,
    clear,
    place_initrd,
    require_low_memory,
    require_ram,
    write_command_line,
)

_HEADER_MAGIC = 0x1BADB002
_LOADER_MAGIC = 0x2BADB002
_SEARCH_LIMIT = 8192

_WANTS_VIDEO = 1 << 2
_HAS_ADDRESSES = 1 << 16
_REQUIREMENTS = 0xFFFF
_REQUIREMENTS_MET = 0b111

_INFORMATION_SIZE = 120
_MODULES = MULTIBOOT_ADDRESS + 0x80
_LOADER_NAME = MULTIBOOT_ADDRESS + 0xA0
_MEMORY_MAP = MULTIBOOT_ADDRESS + 0x100
_MEMORY_MAP_LIMIT = 0x1000 - 0x100
_HAS_MEMORY, _HAS_COMMAND_LINE, _HAS_MODULES = 1 << 0, 1 << 2, 1 << 3
_HAS_MEMORY_MAP, _HAS_LOADER_NAME = 1 << 6, 1 << 9


@dataclass(frozen=True, slots=True)
class MultibootHeader:
    """The multiboot header of an image.

    Attributes:
        offset: where it is in the file.
        flags: what the image asks for.
        addresses: header, load, load end, bss end and entry address, if the image gives them.
    """

    offset: int
    flags: int
    addresses: tuple[int, int, int, int, int] | None


def find_multiboot_header(reader: ImageReader) -> MultibootHeader | None:
    """The multiboot header, if there is one in the first 8192 bytes.

    Raises:
        InputError: there is one and it is cut off.
    """
    for offset in range(0, min(len(reader.data), _SEARCH_LIMIT) - 11, 4):
        magic, flags, checksum = struct.unpack_from("<III", reader.data, offset)
        if magic == _HEADER_MAGIC and (magic + flags + checksum) & 0xFFFF_FFFF == 0:
            addresses = None
            if flags & _HAS_ADDRESSES:
                header, load, load_end, bss_end, entry = reader.unpack(
                    "IIIII", offset + 12, "the multiboot header"
                )
                addresses = (header, load, load_end, bss_end, entry)
            return MultibootHeader(offset, flags, addresses)
    return None


def load_multiboot(
    reader: ImageReader,
    header: MultibootHeader,
    memory: LoaderMemory,
    initrd: bytes | None,
    append: str,
) -> EntryState:
    """Load a multiboot image; its initial RAM disk becomes its first module.

    The first word of the command line is the image's name, as boot loaders have it.

    Raises:
        InputError: the file is broken, does not fit, or asks for what this loader has not.
    """
    require_low_memory(reader, memory)
    refused = header.flags & _REQUIREMENTS & ~_REQUIREMENTS_MET
    if refused:
        raise reader.fail(f"the multiboot header asks for unknown features ({refused:#x})")
    if header.flags & _WANTS_VIDEO:
        raise reader.fail("the multiboot header asks for a video mode, and there is no video")
    symbols = None
    if header.addresses is not None:
        entry, end = _load_by_addresses(reader, header, memory)
    elif reader.data.startswith(ELF_MAGIC):
        image = parse_elf(reader)
        if not image.holds(image.entry):
            raise reader.fail(f"the entry {image.entry:#x} is outside of the image; link it again")
        load_segments(reader, image.segments, memory)
        entry, end = image.entry, image.end()
        symbols = reader.data if image.has_symbols else None
    else:
        raise reader.fail("a multiboot image that is not ELF and gives no load addresses")
    word = "_".join(reader.name.rsplit("/", 1)[-1].split())
    write_command_line(reader, memory, f"{word} {append}".rstrip())
    module = None
    if initrd is not None:
        # Low, just behind the image: simple guests take all that is above for their allocator.
        lowest = align_up(end, 0x1000)
        highest = min(lowest + align_up(len(initrd), 0x1000), memory.size_below_4g) - 1
        module = place_initrd(reader, memory, initrd, lowest=lowest, highest=highest)
    _write_information(memory, module, len(initrd or b""))
    return protected_mode(
        memory,
        EntryKind.MULTIBOOT,
        entry,
        general={"rax": _LOADER_MAGIC, "rbx": MULTIBOOT_ADDRESS},
        symbols=symbols,
    )


def _load_by_addresses(
    reader: ImageReader, header: MultibootHeader, memory: LoaderMemory
) -> tuple[int, int]:
    """Load an image by the addresses of its header; gives its entry and its end in memory."""
    assert header.addresses is not None
    header_address, load, load_end, bss_end, entry = header.addresses
    start = header.offset - (header_address - load)
    if load > header_address or start < 0:
        raise reader.fail("the multiboot header's addresses are inconsistent; link it again")
    size = load_end - load if load_end else len(reader.data) - start
    if size < 0 or (bss_end and bss_end < load + size):
        raise reader.fail("the multiboot header's addresses are inconsistent; link it again")
    data = reader.bytes_at(start, size, "the multiboot image")
    end = max(bss_end, load + size)
    if not load <= entry < end:
        raise reader.fail(f"the entry {entry:#x} is outside of the image; link it again")
    require_ram(reader, memory, load, end - load, "the multiboot image")
    memory.write(load, data)
    clear(memory, load + size, end - load - size)
    return entry, end


def _write_information(memory: LoaderMemory, module: int | None, module_size: int) -> None:
    ranges = memory.e820()
    entries = b"".join(
        struct.pack("<IQQI", 20, start, length, kind) for start, length, kind in ranges
    )[: _MEMORY_MAP_LIMIT // 24 * 24]
    lower = next((length for start, length, kind in ranges if start == 0 and kind == 1), 0)
    upper = next(
        (
            start + length - 0x100000
            for start, length, kind in ranges
            if kind == 1 and start <= 0x100000 < start + length
        ),
        0,
    )
    flags = _HAS_MEMORY | _HAS_COMMAND_LINE | _HAS_MEMORY_MAP | _HAS_LOADER_NAME
    information = bytearray(_INFORMATION_SIZE)
    struct.pack_into("<III", information, 0, flags, min(lower, 0xA0000) >> 10, upper >> 10)
    struct.pack_into("<I", information, 16, COMMAND_LINE_ADDRESS)
    if module is not None:
        struct.pack_into("<I", information, 0, flags | _HAS_MODULES)
        struct.pack_into("<II", information, 20, 1, _MODULES)
        # The module's own command line is empty: the NUL that ends the loader's name.
        empty = _LOADER_NAME + len(b"hypercall")
        memory.write(_MODULES, struct.pack("<IIII", module, module + module_size, empty, 0))
    struct.pack_into("<II", information, 44, len(entries), _MEMORY_MAP)
    struct.pack_into("<I", information, 64, _LOADER_NAME)
    memory.write(MULTIBOOT_ADDRESS, bytes(information))
    memory.write(_LOADER_NAME, b"hypercall\0")
    memory.write(_MEMORY_MAP, entries)
