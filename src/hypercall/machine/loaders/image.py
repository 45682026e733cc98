"""Chooses the loader for an image by what the image says of itself."""

from typing import Literal

from hypercall.errors import InputError
from hypercall.machine.loaders.bare_image import load_flat, load_plain_elf
from hypercall.machine.loaders.bzimage import LinuxEntry, is_bzimage, load_bzimage
from hypercall.machine.loaders.elf_image import ELF_MAGIC, parse_elf
from hypercall.machine.loaders.entry import EntryState, LoaderMemory
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.multiboot import find_multiboot_header, load_multiboot
from hypercall.machine.loaders.vmlinux import is_vmlinux, load_vmlinux

ImageFormat = Literal["auto", "flat"]

_FLAT_SUFFIXES = (".bin", ".raw", ".flat")

# What people give by mistake: (offset, magic, what it is and what to do).
_FOREIGN = (
    (0x38, b"ARMd", "a kernel for ARM64; this machine is x86"),
    (0x24, b"\x18\x28\x6f\x01", "a kernel for 32-bit ARM; this machine is x86"),
    (0x38, b"RSC\x05", "a kernel for RISC-V; this machine is x86"),
    (0x00, b"\x27\x05\x19\x56", "a U-Boot image; unpack the kernel in it"),
    (0x00, b"\xd0\x0d\xfe\xed", "a device tree; give the kernel"),
    (0x00, b"070701", "an initial RAM disk; give the kernel here and this with --initrd"),
    (0x00, b"070702", "an initial RAM disk; give the kernel here and this with --initrd"),
    (0x00, b"\x1f\x8b", "packed with gzip; unpack it first"),
    (0x00, b"\xfd7zXZ\0", "packed with xz; unpack it first"),
    (0x00, b"\x28\xb5\x2f\xfd", "packed with zstd; unpack it first"),
    (0x00, b"BZh", "packed with bzip2; unpack it first"),
    (0x00, b"PK\x03\x04", "a zip archive; unpack it first"),
    (0x00, b"!<arch>", "a package or archive; unpack it first"),
    (0x101, b"ustar", "a tar archive; unpack it first"),
    (0x8001, b"CD001", "a disc image; take the kernel out of it"),
    (0x00, b"QFI\xfb", "a disk image; take the kernel out of it"),
    (0x00, b"#!", "a script, not an image"),
    (0x00, b"MZ", "a Windows or EFI program, or a kernel that is cut off at its start"),
)


def load_image(
    data: bytes,
    name: str,
    *,
    initrd: bytes | None = None,
    append: str = "",
    memory: LoaderMemory,
    linux_entry: LinuxEntry = "vmlinux",
    image_format: ImageFormat = "auto",
) -> EntryState:
    """Put an image, its initial RAM disk and its command line into guest memory.

    A flat binary cannot be told from any other file, so it is taken for one only if its name ends
    in .bin, .raw or .flat, or if ``image_format`` says so.

    Args:
        data: the image: a bzImage, a vmlinux, a multiboot or plain ELF file, or a flat binary.
        name: what to call the image in error messages, its path as a rule.
        initrd: an initial RAM disk, for the images that take one.
        append: the command line.
        memory: where to put it all.
        linux_entry: where a bzImage is entered: ``vmlinux`` unpacks the kernel here, which is
            fast; ``decompressor`` runs the image's own decompressor, which is what randomises
            the kernel's addresses.
        image_format: ``flat`` takes any data for a flat binary; ``auto`` looks at it.

    Returns:
        the boot processor's registers at the first instruction.

    Raises:
        InputError: the image is broken, of another machine, or does not fit into memory.
    """
    reader = ImageReader(data, name)
    if not data:
        raise reader.fail("the file is empty; give a kernel or another guest image")
    if image_format == "flat":
        return load_flat(reader, memory, initrd, append)
    if data.startswith(ELF_MAGIC):
        return _load_elf(reader, memory, initrd, append)
    if is_bzimage(reader):
        return load_bzimage(reader, memory, initrd, append, linux_entry)
    if (header := find_multiboot_header(reader)) is not None:
        return load_multiboot(reader, header, memory, initrd, append)
    for offset, magic, what in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            raise reader.fail(what)
    if name.lower().endswith(_FLAT_SUFFIXES):
        return load_flat(reader, memory, initrd, append)
    raise InputError(
        f"{name}: not a guest image (bzImage, vmlinux, multiboot or static ELF); "
        "a flat binary must have a name that ends in .bin"
    )


def _load_elf(
    reader: ImageReader, memory: LoaderMemory, initrd: bytes | None, append: str
) -> EntryState:
    if (header := find_multiboot_header(reader)) is not None:
        return load_multiboot(reader, header, memory, initrd, append)
    if is_vmlinux(reader, parse_elf(reader)):
        return load_vmlinux(reader, memory, initrd, append)
    return load_plain_elf(reader, memory, initrd, append)
