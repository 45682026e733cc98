from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.bzimage import is_bzimage, load_bzimage
from hypercall.machine.loaders.entry import EntryKind
from hypercall.machine.loaders.image_reader import ImageReader


def test_the_kernel_is_unpacked_and_entered_at_its_own_entry(images: Any, memory: Any) -> None:
    reader = ImageReader(images.bzimage(), "vmlinuz")
    assert is_bzimage(reader)
    state = load_bzimage(reader, memory, None, "quiet")
    assert state.kind is EntryKind.LINUX
    assert state.rip == 0x100_0000
    assert memory.read(0x100_0000, 19) == b"\xfa\xf4Linux version 0.0"
    assert state.symbols is None


def test_the_decompressor_is_entered_at_its_64_bit_entry(images: Any, memory: Any) -> None:
    data = images.bzimage()
    state = load_bzimage(ImageReader(data, "vmlinuz"), memory, None, "", "decompressor")
    assert state.kind is EntryKind.LINUX_DECOMPRESSOR
    assert state.rip == 0x100_0200
    assert memory.read(0x100_0000, len(data) - 1024) == data[1024:]


@pytest.mark.parametrize("entry", ["vmlinux", "decompressor"])
def test_the_setup_header_is_handed_on(images: Any, memory: Any, entry: Any) -> None:
    data = images.bzimage()
    state = load_bzimage(ImageReader(data, "vmlinuz"), memory, b"disk", "quiet", entry)
    parameters = state.general["rsi"]
    assert memory.read(parameters + 0x230, 0x38) == data[0x230:0x268]
    assert memory.number(parameters + 0x21C, 4) == 4


@pytest.mark.parametrize("entry", ["vmlinux", "decompressor"])
def test_the_initial_ram_disk_leaves_the_kernel_what_it_needs(
    images: Any, memory: Any, entry: Any
) -> None:
    reader = ImageReader(images.bzimage(), "vmlinuz")
    room = memory.size - 0x110_0000
    load_bzimage(reader, memory, bytes(room), "", entry)
    with pytest.raises(InputError, match="does not fit"):
        load_bzimage(reader, memory, bytes(room + 1), "", entry)


@pytest.mark.parametrize("entry", ["vmlinux", "decompressor"])
def test_a_kernel_larger_than_memory_is_refused(images: Any, make_memory: Any, entry: Any) -> None:
    reader = ImageReader(images.bzimage(), "vmlinuz")
    with pytest.raises(InputError, match="the kernel needs memory up to 0x1100000"):
        load_bzimage(reader, make_memory(17 << 20 - 1), None, "", entry)


def test_a_payload_that_is_no_elf_is_refused(images: Any, memory: Any) -> None:
    data = images.bzimage(kernel=b"not an ELF file")
    with pytest.raises(InputError, match="not an ELF file"):
        load_bzimage(ImageReader(data, "vmlinuz"), memory, None, "")


def test_a_32_bit_kernel_inside_is_refused(images: Any, memory: Any) -> None:
    kernel = images.elf([(0x100_0000, 0xC100_0000, b"x", 1)], entry=0x100_0000, bits=32)
    with pytest.raises(InputError, match="32-bit"):
        load_bzimage(ImageReader(images.bzimage(kernel), "vmlinuz"), memory, None, "")
