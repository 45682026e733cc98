from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.entry import EntryKind, EntryState
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.multiboot import find_multiboot_header, load_multiboot

BASE = 0x400000


def load(data: bytes, memory: Any, initrd: bytes | None = None, append: str = "") -> EntryState:
    reader = ImageReader(data, "tests/some test.flat")
    header = find_multiboot_header(reader)
    assert header is not None
    return load_multiboot(reader, header, memory, initrd, append)


def image(images: Any, flags: int = 0, **options: Any) -> bytes:
    code = images.multiboot_header(flags) + b"\xf4"
    return bytes(images.elf([(BASE, BASE, code, 0x1000)], entry=BASE + 12, **options))


@pytest.mark.parametrize("bits", [32, 64])
def test_an_elf_image_is_entered_in_protected_mode(images: Any, memory: Any, bits: int) -> None:
    state = load(image(images, bits=bits), memory)
    assert state.kind is EntryKind.MULTIBOOT
    assert state.rip == BASE + 12
    assert memory.read(state.rip, 1) == b"\xf4"
    assert state.general["rax"] == 0x2BADB002
    assert state.cr0 & 0x8000_0001 == 1
    assert state.efer == 0
    assert state.cs.attributes == 0xC09B
    assert state.cs.limit == state.data.limit == 0xFFFF_FFFF
    assert not state.rflags & 0x200


def test_the_information_tells_memory_and_command_line(images: Any, memory: Any) -> None:
    state = load(image(images), memory, append="first second")
    information = state.general["rbx"]
    flags = memory.number(information, 4)
    assert flags & 0b1000101 == 0b1000101
    assert not flags & 8
    assert memory.number(information + 4, 4) == 0x9F000 >> 10
    assert memory.number(information + 8, 4) == (memory.size >> 10) - 1024
    assert memory.text(memory.number(information + 16, 4)) == b"some_test.flat first second"
    assert memory.number(information + 20, 4) == 0
    length, entry = memory.number(information + 44, 4), memory.number(information + 48, 4)
    assert length == 4 * 24
    last = entry + 3 * 24
    assert memory.number(last, 4) == 20
    assert memory.number(last + 4, 8) == 0x100000
    assert memory.number(last + 12, 8) == memory.size - 0x100000
    assert memory.number(last + 20, 4) == 1


def test_the_initial_ram_disk_is_the_module_behind_the_image(images: Any, memory: Any) -> None:
    state = load(image(images), memory, initrd=b"A=1\nB=2\n")
    information = state.general["rbx"]
    assert memory.number(information, 4) & 8
    assert memory.number(information + 20, 4) == 1
    module = memory.number(information + 24, 4)
    start, end = memory.number(module, 4), memory.number(module + 4, 4)
    assert start == BASE + 0x1000
    assert memory.read(start, end - start) == b"A=1\nB=2\n"
    assert memory.text(memory.number(module + 8, 4)) == b""


def test_an_image_may_give_its_addresses(images: Any, make_memory: Any) -> None:
    memory = make_memory(8 << 20, fill=0xAA)
    header = images.multiboot_header(1 << 16, BASE + 8, BASE, BASE + 48, BASE + 64, BASE + 40)
    data = b"junk" + b"12345678" + header + b"\xf4" * 8
    state = load(data, memory)
    assert state.rip == BASE + 40
    # 8 bytes before the header are loaded too, and what is after the load end is zero.
    assert memory.read(BASE, 8) == b"12345678"
    assert memory.read(BASE + 40, 25) == b"\xf4" * 8 + bytes(16) + b"\xaa"


def test_load_end_0_means_the_whole_file(images: Any, memory: Any) -> None:
    header = images.multiboot_header(1 << 16, BASE, BASE, 0, 0, BASE + 32)
    load(header + b"the rest", memory)
    assert memory.read(BASE + 32, 8) == b"the rest"


@pytest.mark.parametrize(
    ("addresses", "message"),
    [
        ((BASE, BASE + 4, 0, 0, BASE), "inconsistent"),
        ((BASE + 4, BASE, 0, 0, BASE), "inconsistent"),
        ((BASE, BASE, BASE - 1, 0, BASE), "inconsistent"),
        ((BASE, BASE, 0, BASE + 1, BASE), "inconsistent"),
        ((BASE, BASE, BASE + 99, 0, BASE), "truncated"),
        ((BASE, BASE, 0, 0, BASE + 99), "outside of the image"),
        ((BASE, BASE, 0, 0xFFFF_FFFF, BASE), "needs memory"),
    ],
)
def test_addresses_that_make_no_sense_are_refused(
    images: Any, memory: Any, addresses: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(images.multiboot_header(1 << 16, *addresses) + b"code", memory)


@pytest.mark.parametrize(
    ("flags", "message"), [(1 << 2, "video"), (1 << 3, "unknown features .0x8.")]
)
def test_what_the_header_asks_for_must_be_there(
    images: Any, memory: Any, flags: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load(image(images, flags), memory)


def test_neither_elf_nor_addresses_is_refused(images: Any, memory: Any) -> None:
    with pytest.raises(InputError, match="gives no load addresses"):
        load(images.multiboot_header() + b"code", memory)


def test_the_header_is_aligned_and_in_the_first_8192_bytes(images: Any) -> None:
    header = images.multiboot_header()
    for before, found in ((0, True), (4, True), (2, False), (8180, True), (8184, False)):
        data = bytes(before) + header
        assert (find_multiboot_header(ImageReader(data, "image")) is not None) == found
    broken = header[:8] + bytes(4)
    assert find_multiboot_header(ImageReader(broken, "image")) is None


def test_an_initial_ram_disk_that_does_not_fit_is_refused(images: Any, memory: Any) -> None:
    with pytest.raises(InputError, match="does not fit"):
        load(image(images), memory, initrd=bytes(memory.size - BASE - 0x1000 + 1))
