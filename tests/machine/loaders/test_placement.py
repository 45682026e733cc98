from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.placement import (
    LOADER_AREA,
    align_up,
    clear,
    place_initrd,
    require_ram,
)

READER = ImageReader(b"", "image")


@pytest.mark.parametrize(("value", "aligned"), [(0, 0), (1, 4096), (4096, 4096), (4097, 8192)])
def test_alignment(value: int, aligned: int) -> None:
    assert align_up(value, 4096) == aligned


def test_memory_is_cleared_unless_it_is_zero(make_memory: Any) -> None:
    memory = make_memory(4 << 20, fill=0xAA)
    clear(memory, 0x100001, 0x200000)
    assert memory.read(0x100000, 2) == b"\xaa\0"
    assert memory.read(0x300000, 2) == b"\0\xaa"
    memory.zeroed = True
    clear(memory, 0x310000, 16)
    assert memory.read(0x310000, 16) == b"\xaa" * 16


@pytest.mark.parametrize(
    ("start", "length", "fits"),
    [
        (0x1000, 0x1000, True),
        (LOADER_AREA.start - 1, 1, True),
        (LOADER_AREA.start - 1, 2, False),
        (LOADER_AREA.stop - 1, 1, False),
        (0x9EFFF, 1, True),
        (0x9EFFF, 2, False),
        (0xFFFFF, 1, False),
        (0x100000, 0x100000, True),
        (0x100000, 0x100001, False),
    ],
)
def test_what_an_image_may_cover(make_memory: Any, start: int, length: int, fits: bool) -> None:
    memory = make_memory(2 << 20)
    if fits:
        require_ram(READER, memory, start, length, "the part")
    else:
        with pytest.raises(InputError, match="image: the part"):
            require_ram(READER, memory, start, length, "the part")


def test_an_initial_ram_disk_is_as_high_as_it_may_be(memory: Any) -> None:
    address = place_initrd(READER, memory, b"disk", lowest=0x200000, highest=0x2FFFFE)
    assert address == 0x2FF000
    assert memory.read(address, 4) == b"disk"
    exact = place_initrd(READER, memory, bytes(0x1000), lowest=0x200000, highest=0x200FFF)
    assert exact == 0x200000
    with pytest.raises(InputError, match="does not fit"):
        place_initrd(READER, memory, bytes(0x1001), lowest=0x200000, highest=0x200FFF)
