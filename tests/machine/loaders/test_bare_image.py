import struct
from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.bare_image import load_flat, load_plain_elf
from hypercall.machine.loaders.entry import EntryKind
from hypercall.machine.loaders.image_reader import ImageReader

BASE = 0x200000


def test_a_flat_binary_is_entered_at_its_first_byte(memory: Any) -> None:
    state = load_flat(ImageReader(b"\xf4code", "payload.bin"), memory, b"disk", "one two")
    assert state.kind is EntryKind.FLAT
    assert state.rip == 0x100000
    assert memory.read(0x100000, 5) == b"\xf4code"
    assert state.efer == 0x500
    assert memory.text(state.general["rdi"]) == b"one two"
    assert state.general["rsi"] == 7
    assert memory.read(state.general["rdx"], state.general["rcx"]) == b"disk"


def test_without_an_initial_ram_disk_its_arguments_are_0(memory: Any) -> None:
    state = load_flat(ImageReader(b"\xf4", "payload.bin"), memory, None, "")
    assert state.general["rdx"] == state.general["rcx"] == 0


def test_the_stack_is_as_after_a_call_whose_return_reports_eax(memory: Any) -> None:
    state = load_flat(ImageReader(b"\xc3", "payload.bin"), memory, None, "")
    assert state.rsp % 16 == 8
    code = memory.read(memory.number(state.rsp, 8), 6)
    # out 0xF4, eax; cli; hlt; and back to the cli.
    assert code == bytes.fromhex("e7f4 fa f4 ebfc")


def test_a_64_bit_elf_file_runs_in_long_mode_with_sse(images: Any, memory: Any) -> None:
    data = images.elf([(BASE, BASE, b"\xf4", 1)], entry=BASE, symbols=True)
    state = load_plain_elf(ImageReader(data, "test"), memory, None, "x")
    assert state.kind is EntryKind.ELF64
    assert state.rip == BASE
    assert state.cr4 & 0x620 == 0x620
    assert state.general["rsi"] == 1
    assert state.symbols == data


def test_a_32_bit_elf_file_gets_its_arguments_on_the_stack(images: Any, memory: Any) -> None:
    data = images.elf([(BASE, BASE, b"\xf4", 1)], entry=BASE, bits=32)
    state = load_plain_elf(ImageReader(data, "test"), memory, b"disk", "one")
    assert state.kind is EntryKind.ELF32
    assert state.cr0 & 0x8000_0001 == 1
    assert (state.rsp + 4) % 16 == 0
    _, text, length, initrd, size = struct.unpack("<5I", memory.read(state.rsp, 20))
    assert memory.text(text) == b"one"
    assert length == 3
    assert memory.read(initrd, size) == b"disk"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"elf_type": 3}, "-static -no-pie"),
        ({"interpreted": True}, "-static -no-pie"),
        ({"entry": BASE + 1}, "0x200001 is at no physical address"),
    ],
)
def test_what_cannot_run_bare_is_refused(
    images: Any, memory: Any, options: dict[str, Any], message: str
) -> None:
    data = images.elf([(BASE, BASE, b"\xf4", 1)], **({"entry": BASE} | options))
    with pytest.raises(InputError, match=message):
        load_plain_elf(ImageReader(data, "test"), memory, None, "")


def test_a_flat_binary_larger_than_memory_is_refused(make_memory: Any) -> None:
    reader = ImageReader(bytes((1 << 20) + 1), "payload.bin")
    with pytest.raises(InputError, match="needs memory"):
        load_flat(reader, make_memory(2 << 20), None, "")
