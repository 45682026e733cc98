"""Loads an unpacked Linux kernel: the ELF file vmlinux."""

from hypercall.machine.loaders.elf_image import ElfImage, load_segments, parse_elf
from hypercall.machine.loaders.entry import EntryKind, EntryState, LoaderMemory
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.linux import (
    DEFAULT_INITRD_HIGHEST,
    enter_linux,
    minimal_setup_header,
)

_KERNEL_MAPPING = 0xFFFF_FFFF_8000_0000
_COMMAND_LINE_LIMIT = 2047


def is_vmlinux(reader: ImageReader, image: ElfImage) -> bool:
    """Whether an ELF file is a 64-bit Linux kernel: linked high, and with Linux's banner in it."""
    return (
        image.bits == 64
        and any(segment.virtual >= _KERNEL_MAPPING for segment in image.segments)
        and b"Linux version " in reader.data
    )


def load_kernel_segments(reader: ImageReader, memory: LoaderMemory) -> ElfImage:
    """Load the segments of a 64-bit kernel at their physical addresses.

    Raises:
        InputError: the file is broken, or does not fit.
    """
    image = parse_elf(reader)
    if image.bits != 64:
        raise reader.fail("a 32-bit kernel; this machine boots 64-bit kernels")
    if not image.holds(image.entry):
        raise reader.fail(f"the kernel's entry {image.entry:#x} is outside of it; get it again")
    load_segments(reader, image.segments, memory)
    return image


def load_vmlinux(
    reader: ImageReader, memory: LoaderMemory, initrd: bytes | None, append: str
) -> EntryState:
    """Load a vmlinux and enter it as the 64-bit boot protocol says.

    Raises:
        InputError: the file is broken, or does not fit.
    """
    image = load_kernel_segments(reader, memory)
    return enter_linux(
        reader,
        memory,
        kind=EntryKind.LINUX,
        entry=image.entry,
        setup_header=minimal_setup_header(),
        image_end=image.end(),
        initrd=initrd,
        initrd_highest=DEFAULT_INITRD_HIGHEST,
        append=append,
        command_line_limit=_COMMAND_LINE_LIMIT,
        symbols=reader.data if image.has_symbols else None,
    )
