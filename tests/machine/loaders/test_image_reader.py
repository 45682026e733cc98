import pytest

from hypercall.errors import InputError
from hypercall.machine.loaders.image_reader import ImageReader


def test_fields_are_little_endian() -> None:
    reader = ImageReader(b"\x00\x01\x02\x03\x04", "image")
    assert reader.unpack("HB", 1, "a field") == (0x0201, 3)
    assert reader.bytes_at(3, 2, "a field") == b"\x03\x04"


@pytest.mark.parametrize(("offset", "length"), [(4, 2), (5, 1), (1 << 64, 1), (-1, 1), (0, -1)])
def test_what_is_outside_is_named(offset: int, length: int) -> None:
    with pytest.raises(InputError, match="image: truncated: the field would end"):
        ImageReader(b"12345", "image").bytes_at(offset, length, "the field")
