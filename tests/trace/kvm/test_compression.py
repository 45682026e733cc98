import zlib

import pytest
import zstandard

from hypercall.errors import InputError
from hypercall.trace.kvm.compression import decompressor

DATA = b"hypercall " * 1000
PACKED = {
    "none": DATA,
    "zstd": zstandard.ZstdCompressor().compress(DATA),
    "zlib": zlib.compress(DATA),
}


@pytest.mark.parametrize("name", PACKED)
def test_what_was_packed_comes_out(name: str) -> None:
    assert decompressor(name)(memoryview(PACKED[name]), len(DATA)) == DATA


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("size", [0, len(DATA) - 1, len(DATA) + 1])
def test_another_size_than_announced(name: str, size: int) -> None:
    with pytest.raises(InputError):
        decompressor(name)(memoryview(PACKED[name]), size)


@pytest.mark.parametrize("name", ["zstd", "zlib"])
@pytest.mark.parametrize("data", [b"", b"\0" * 20, b"garbage that is none"])
def test_garbage(name: str, data: bytes) -> None:
    with pytest.raises(InputError):
        decompressor(name)(memoryview(data), 10)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    with pytest.raises(InputError, match="4096"):
        decompressor("zstd")(memoryview(bomb), 4096)


def test_an_unknown_compression() -> None:
    with pytest.raises(InputError, match="lzo"):
        decompressor("lzo")
