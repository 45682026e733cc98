import struct
from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.elf_image import load_segments, parse_elf
from hypercall.machine.loaders.image_reader import ImageReader

BASE = 0x200000


@pytest.mark.parametrize("bits", [32, 64])
def test_segments_go_to_their_physical_addresses_and_the_rest_is_zero(
    images: Any, make_memory: Any, bits: int
) -> None:
    data = images.elf([(BASE, 0x7000_0000, b"code", 0x100)], entry=BASE, bits=bits)
    reader = ImageReader(data, "image")
    image = parse_elf(reader)
    memory = make_memory(4 << 20, fill=0xAA)
    load_segments(reader, image.segments, memory)
    assert image.bits == bits
    assert image.entry == BASE
    assert memory.read(BASE, 0x101) == b"code" + bytes(0xFC) + b"\xaa"
    assert image.end() == BASE + 0x100
    assert image.holds(BASE + 0xFF)
    assert not image.holds(BASE + 0x100)
    assert not image.has_symbols


def test_symbols_and_interpreter_are_seen(images: Any) -> None:
    data = images.elf(
        [(BASE, BASE, b"x", 1)], entry=BASE, symbols=True, interpreted=True, elf_type=3
    )
    image = parse_elf(ImageReader(data, "image"))
    assert image.has_symbols
    assert image.interpreted
    assert image.position_independent


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"machine": 183}, "another machine .ARM64."),
        ({"machine": 40}, "another machine .ARM."),
        ({"machine": 9999}, "another machine .number 9999."),
        ({"elf_type": 1}, "not linked yet"),
        ({"elf_type": 4}, "a core dump"),
    ],
)
def test_other_kinds_of_elf_are_refused(images: Any, options: dict[str, int], message: str) -> None:
    data = images.elf([(BASE, BASE, b"x", 1)], entry=BASE, **options)
    with pytest.raises(InputError, match=message):
        parse_elf(ImageReader(data, "image"))


def test_a_big_endian_file_is_refused(images: Any) -> None:
    data = bytearray(images.elf([(BASE, BASE, b"x", 1)], entry=BASE))
    data[5] = 2
    with pytest.raises(InputError, match="big-endian"):
        parse_elf(ImageReader(bytes(data), "image"))


def test_a_file_without_segments_is_refused(images: Any) -> None:
    with pytest.raises(InputError, match="nothing to load"):
        parse_elf(ImageReader(images.elf([], entry=0), "image"))


def test_a_segment_larger_in_the_file_than_in_memory_is_refused(images: Any) -> None:
    with pytest.raises(InputError, match="larger in the file"):
        parse_elf(ImageReader(images.elf([(BASE, BASE, b"1234", 3)], entry=BASE), "image"))


def test_a_segment_outside_the_file_is_refused(images: Any) -> None:
    data = bytearray(images.elf([(BASE, BASE, b"1234", 4)], entry=BASE))
    struct.pack_into("<Q", data, 64 + 8, 1 << 40)
    with pytest.raises(InputError, match="truncated: ELF segment 0"):
        parse_elf(ImageReader(bytes(data), "image"))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (4 << 20, "needs memory up to 0x400001 .5 MiB., but there are 4 MiB"),
        (0x80000, "tables"),
        (0x9F000, "firmware"),
        (0xFFFFF, "firmware"),
        (1 << 63, "needs memory"),
    ],
)
def test_a_segment_must_fit(images: Any, make_memory: Any, address: int, message: str) -> None:
    reader = ImageReader(images.elf([(address, address, b"x", 1)], entry=address), "image")
    with pytest.raises(InputError, match=message):
        load_segments(reader, parse_elf(reader).segments, make_memory(4 << 20))


def test_segments_that_overlap_are_refused(images: Any, make_memory: Any) -> None:
    segments = [(BASE + 8, BASE, b"1", 8), (BASE, BASE, b"2", 9)]
    reader = ImageReader(images.elf(segments, entry=BASE), "image")
    with pytest.raises(InputError, match="overlap at 0x200008"):
        load_segments(reader, parse_elf(reader).segments, make_memory(4 << 20))
