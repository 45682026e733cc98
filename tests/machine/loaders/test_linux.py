from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.entry import EntryKind, EntryState
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.linux import enter_linux, minimal_setup_header

READER = ImageReader(b"", "vmlinuz")


def enter(memory: Any, **changes: Any) -> EntryState:
    arguments: dict[str, Any] = {
        "kind": EntryKind.LINUX,
        "entry": 0x100_0000,
        "setup_header": minimal_setup_header(),
        "image_end": 0x110_0001,
        "initrd": None,
        "initrd_highest": 0x7FFF_FFFF,
        "append": "console=ttyS0",
        "command_line_limit": 2047,
    }
    return enter_linux(READER, memory, **(arguments | changes))


def test_the_entry_is_the_64_bit_boot_protocol_s(memory: Any) -> None:
    state = enter(memory)
    assert state.rip == 0x100_0000
    assert state.cs.selector == 0x10
    assert state.data.selector == 0x18
    assert state.cs.attributes == 0xA09B
    assert state.efer == 0x500
    assert state.cr0 & 0x8000_0001 == 0x8000_0001
    assert state.cr4 & 0x20
    assert not state.rflags & 0x200


def test_the_boot_parameters_are_filled_in(memory: Any) -> None:
    initrd = b"disk" * 3000
    state = enter(memory, initrd=initrd)
    parameters = state.general["rsi"]
    assert memory.read(parameters + 0x202, 4) == b"HdrS"
    assert memory.number(parameters + 0x210, 1) == 0xFF
    assert memory.number(parameters + 0x070, 8) == 0xE0000
    assert memory.text(memory.number(parameters + 0x228, 4)) == b"console=ttyS0"
    address = memory.number(parameters + 0x218, 4)
    assert address % 4096 == 0
    # As high as can be: less than a page is left.
    assert memory.size - 4096 < address + len(initrd) <= memory.size
    assert memory.number(parameters + 0x21C, 4) == len(initrd)
    assert memory.read(address, len(initrd)) == initrd
    assert memory.number(parameters + 0x1E8, 1) == 4
    third = parameters + 0x2D0 + 3 * 20
    assert memory.number(third, 8) == 0x100000
    assert memory.number(third + 8, 8) == memory.size - 0x100000
    assert memory.number(third + 16, 4) == 1


def test_a_random_seed_is_setup_data(memory: Any) -> None:
    memory.random_seed = b"dice" * 8
    parameters = enter(memory).general["rsi"]
    node = memory.number(parameters + 0x250, 8)
    assert memory.number(node, 8) == 0
    assert memory.number(node + 8, 4) == 9
    assert memory.number(node + 12, 4) == 32
    assert memory.read(node + 16, 32) == b"dice" * 8


def test_without_a_random_seed_there_is_no_setup_data(memory: Any) -> None:
    parameters = enter(memory).general["rsi"]
    assert memory.number(parameters + 0x250, 8) == 0


def test_the_initial_ram_disk_stays_below_its_limit(memory: Any) -> None:
    state = enter(memory, initrd=b"disk", initrd_highest=0x17F_FFFF)
    assert memory.number(state.general["rsi"] + 0x218, 4) == 0x17F_F000


def test_the_page_tables_map_the_first_4_gib_one_to_one(memory: Any) -> None:
    root = enter(memory).cr3
    for address in (0, 0x1234_5678, 0xFFFF_FFFF):
        table = root
        for shift in (39, 30):
            entry = memory.number(table + 8 * (address >> shift & 511), 8)
            assert entry & 3 == 3
            table = entry & ~0xFFF
        leaf = memory.number(table + 8 * (address >> 21 & 511), 8)
        assert leaf & 0x83 == 0x83
        assert leaf & ~0xFFF == address & ~0x1F_FFFF


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"initrd": b""}, "the initial RAM disk is empty"),
        ({"initrd": bytes(16 << 20)}, "does not fit beside this image into 32 MiB"),
        ({"append": "x" * 2048}, "2048 bytes and this image takes 2047"),
        ({"append": "a\0b"}, "NUL"),
    ],
)
def test_what_does_not_fit_is_refused(memory: Any, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        enter(memory, **changes)


def test_a_command_line_of_the_full_length_fits(memory: Any) -> None:
    state = enter(memory, append="x" * 2047)
    command_line = memory.number(state.general["rsi"] + 0x228, 4)
    assert len(memory.text(command_line)) == 2047


def test_tiny_memory_is_refused(make_memory: Any) -> None:
    with pytest.raises(InputError, match="at least 1 MiB"):
        enter(make_memory(0x80000))
