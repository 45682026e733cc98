"""Chooses the loader for an image by what the image says of itself."""

from typing import Literal

from hypercall.errors import InputError
from hypercall.machine.loaders.entry import EntryState, LoaderMemory


def load_image(
    data: bytes,
    name: str,
    *,
    initrd: bytes | None = None,
    append: str = "",
    memory: LoaderMemory,
    linux_entry: Literal["vmlinux", "decompressor"] = "vmlinux",
) -> EntryState:
    """Put an image, its initial RAM disk and its command line into guest memory.

    Args:
        data: the image: a bzImage, a vmlinux, a multiboot or plain ELF file, or a flat binary.
        name: what to call the image in error messages, its path as a rule.
        initrd: an initial RAM disk, for the images that take one.
        append: the command line.
        memory: where to put it all.
        linux_entry: where a bzImage is entered: ``vmlinux`` unpacks the kernel here, which is
            fast; ``decompressor`` runs the image's own decompressor, which is what randomises
            the kernel's addresses.

    Returns:
        the boot processor's registers at the first instruction.

    Raises:
        InputError: the image is broken, of another machine, or does not fit into memory.
    """
    raise InputError(f"{name}: not an image that can be loaded")
