"""Where a loader puts what it adds to an image, and the checks that all of it fits.

Everything that a loader writes beside the image is in one area of low memory, below the area of
the firmware tables: page tables, descriptor table, command line, boot parameters and a stack.
"""

from hypercall.errors import InputError
from hypercall.machine.loaders.entry import LoaderMemory
from hypercall.machine.loaders.image_reader import ImageReader

PAGE_SIZE = 0x1000

GDT_ADDRESS = 0x80000
RETURN_ADDRESS = 0x80800
BOOT_PARAMETERS_ADDRESS = 0x81000
COMMAND_LINE_ADDRESS = 0x82000
COMMAND_LINE_LIMIT = 0x1000
PAGE_TABLE_ADDRESS = 0x83000
MULTIBOOT_ADDRESS = 0x89000
SETUP_DATA_ADDRESS = 0x8A000
STACK_TOP = 0x9A000
LOADER_AREA = range(GDT_ADDRESS, STACK_TOP)

_ZEROS = bytes(1 << 20)


def align_up(value: int, alignment: int) -> int:
    """The next multiple of a power of two that is not below ``value``."""
    return (value + alignment - 1) & -alignment


def clear(memory: LoaderMemory, start: int, length: int) -> None:
    """Write zeros, unless the memory is zero already."""
    if memory.zeroed:
        return
    while length > 0:
        piece = min(length, len(_ZEROS))
        memory.write(start, _ZEROS[:piece])
        start += piece
        length -= piece


def require_ram(
    reader: ImageReader, memory: LoaderMemory, start: int, length: int, what: str
) -> None:
    """Check that a part of the image has RAM below 4 GiB under all of it.

    Raises:
        InputError: it has not, or it would cover the loader's own area.
    """
    end = start + length
    if end > memory.size_below_4g:
        raise reader.fail(
            f"{what} needs memory up to {end:#x} ({-(-end >> 20)} MiB), "
            f"but there are {memory.size_below_4g >> 20} MiB; give the guest more memory"
        )
    if start < LOADER_AREA.stop and LOADER_AREA.start < end:
        raise reader.fail(
            f"{what} covers {LOADER_AREA.start:#x}-{LOADER_AREA.stop - 1:#x}, where the loader "
            "keeps its tables; link the image for 0x100000 or higher"
        )
    if start < 0x100000 and end > 0x9F000:
        raise reader.fail(
            f"{what} covers 0x9f000-0xfffff, which is the firmware's; "
            "link the image for 0x100000 or higher"
        )


def require_low_memory(reader: ImageReader, memory: LoaderMemory) -> None:
    """Check that the guest has the memory that every loader needs for itself.

    Raises:
        InputError: it has not.
    """
    if memory.size_below_4g < LOADER_AREA.stop:
        raise reader.fail("the guest has no room for any image; give it at least 1 MiB of memory")


def write_command_line(
    reader: ImageReader, memory: LoaderMemory, text: str, limit: int = COMMAND_LINE_LIMIT - 1
) -> int:
    """Put the command line, NUL-terminated, where all loaders have it; gives its length in bytes.

    Raises:
        InputError: it is longer than the image takes, or contains a NUL.
    """
    encoded = text.encode("utf-8", "surrogateescape")
    limit = min(limit, COMMAND_LINE_LIMIT - 1)
    if len(encoded) > limit:
        raise reader.fail(
            f"the command line has {len(encoded)} bytes and this image takes {limit}; shorten it"
        )
    if 0 in encoded:
        raise reader.fail("the command line contains a NUL character; remove it")
    memory.write(COMMAND_LINE_ADDRESS, encoded + b"\0")
    return len(encoded)


def place_initrd(
    reader: ImageReader,
    memory: LoaderMemory,
    initrd: bytes,
    *,
    lowest: int,
    highest: int,
) -> int:
    """Put an initial RAM disk, page aligned, as high as it may be; gives its address.

    Args:
        reader: the image it is for, named in errors.
        memory: where to put it.
        initrd: its bytes.
        lowest: the first address that it may cover, the end of the image as a rule.
        highest: the last address that it may cover.

    Raises:
        InputError: it does not fit, or is empty.
    """
    if not initrd:
        raise InputError("the initial RAM disk is empty; build it again")
    top = min(memory.size_below_4g, highest + 1)
    address = (top - len(initrd)) & -PAGE_SIZE
    if address < lowest:
        raise reader.fail(
            f"the initial RAM disk of {len(initrd)} bytes does not fit beside this image into "
            f"{memory.size >> 20} MiB of memory; give the guest more memory"
        )
    memory.write(address, initrd)
    return address
