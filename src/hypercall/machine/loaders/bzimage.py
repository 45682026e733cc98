"""Loads a Linux bzImage, at the kernel inside of it or at its own decompressor."""

from typing import Literal

from hypercall.machine.loaders.entry import EntryKind, EntryState, LoaderMemory
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.linux import enter_linux
from hypercall.machine.loaders.payload import unpack_payload
from hypercall.machine.loaders.placement import require_ram
from hypercall.machine.loaders.setup_header import (
    HEADER_MAGIC,
    HEADER_MAGIC_OFFSET,
    SetupHeader,
    parse_setup_header,
)
from hypercall.machine.loaders.vmlinux import load_kernel_segments

LinuxEntry = Literal["vmlinux", "decompressor"]

_ENTRY_64 = 0x200


def is_bzimage(reader: ImageReader) -> bool:
    """Whether the file has the setup header of a Linux kernel for x86."""
    end = HEADER_MAGIC_OFFSET + len(HEADER_MAGIC)
    return reader.data[HEADER_MAGIC_OFFSET:end] == HEADER_MAGIC


def load_bzimage(
    reader: ImageReader,
    memory: LoaderMemory,
    initrd: bytes | None,
    append: str,
    entry: LinuxEntry = "vmlinux",
) -> EntryState:
    """Load a bzImage.

    With ``vmlinux`` the kernel inside is unpacked here, loaded where it is linked and entered
    directly: quick, at addresses that are the same each time. With ``decompressor`` the image's
    protected-mode code is loaded at the kernel's preferred address and entered at its 64-bit
    entry, so that the guest itself unpacks the kernel and chooses its addresses.

    Raises:
        InputError: the file is broken, or does not fit.
    """
    header = parse_setup_header(reader)
    require_ram(reader, memory, header.preferred_address, header.memory_needed, "the kernel")
    if entry == "decompressor":
        kind, rip = EntryKind.LINUX_DECOMPRESSOR, header.preferred_address + _ENTRY_64
        memory.write(
            header.preferred_address,
            reader.data[header.code_offset : header.code_offset + header.code_size],
        )
        end = header.preferred_address + header.memory_needed
    else:
        kernel = ImageReader(_unpacked_kernel(reader, header), reader.name)
        image = load_kernel_segments(kernel, memory)
        kind, rip = EntryKind.LINUX, image.entry
        end = max(image.end(), header.preferred_address + header.memory_needed)
    return enter_linux(
        reader,
        memory,
        kind=kind,
        entry=rip,
        setup_header=header.raw,
        image_end=end,
        initrd=initrd,
        initrd_highest=header.initrd_highest,
        append=append,
        command_line_limit=header.command_line_limit,
    )


def _unpacked_kernel(reader: ImageReader, header: SetupHeader) -> bytes:
    start = header.code_offset + header.payload_offset
    payload = reader.data[start : start + header.payload_length]
    kernel = unpack_payload(reader, payload, header.memory_needed)
    if not kernel.startswith(b"\x7fELF"):
        raise reader.fail("the packed kernel is not an ELF file; get the file again")
    return kernel
