from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.setup_header import parse_setup_header


def test_the_fields_are_where_the_boot_protocol_has_them(images: Any) -> None:
    data = images.bzimage()
    header = parse_setup_header(ImageReader(data, "vmlinuz"))
    assert header.code_offset == 1024
    assert header.code_size == len(data) - 1024
    assert header.payload_offset == 0x400
    assert header.initrd_highest == 0x7FFF_FFFF
    assert header.command_line_limit == 2047
    assert header.preferred_address == 0x100_0000
    assert header.memory_needed == 0x10_0000
    assert header.relocatable
    assert header.alignment == 0x20_0000
    # The jump at 0x200 says where the header ends: 0x202 + 0x66.
    assert header.raw == data[0x1F1:0x268]


def test_no_setup_sectors_means_four(images: Any) -> None:
    data = bytearray(images.bzimage())
    data[0x1F1] = 0
    header = parse_setup_header(ImageReader(bytes(data) + bytes(2048), "vmlinuz"))
    assert header.code_offset == 5 * 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"at_206": ("H", 0x020B)}, "boot protocol 2.11"),
        ({"at_211": ("B", 0)}, "zImage"),
        ({"at_236": ("H", 0)}, "a 32-bit kernel"),
        ({"at_24c": ("I", 0x10_0000)}, "payload outside"),
        ({"at_24c": ("I", 0)}, "payload outside"),
        ({"at_1f4": ("I", 0x10_0000)}, "truncated"),
    ],
)
def test_what_cannot_be_booted_is_refused(
    images: Any, change: dict[str, tuple[str, int]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        parse_setup_header(ImageReader(images.bzimage(**change), "vmlinuz"))
