import bz2
import gzip
import lzma
import struct

import lz4.block
import pytest
import zstandard

from hypercall.errors import InputError
from hypercall.machine.loaders.image_reader import ImageReader
from hypercall.machine.loaders.payload import unpack_payload

KERNEL = b"\x7fELF" + bytes(range(256)) * 5000
READER = ImageReader(b"", "vmlinuz")
SIZE = struct.pack("<I", len(KERNEL))


def lz4_legacy(data: bytes) -> bytes:
    blocks = [data[start : start + 400_000] for start in range(0, len(data), 400_000)]
    packed = [lz4.block.compress(block, store_size=False) for block in blocks]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(p)) + p for p in packed)


PAYLOADS = {
    "gzip": gzip.compress(KERNEL, mtime=0),
    "xz": lzma.compress(KERNEL, lzma.FORMAT_XZ) + SIZE,
    "lzma": lzma.compress(KERNEL, lzma.FORMAT_ALONE) + SIZE,
    "bzip2": bz2.compress(KERNEL) + SIZE,
    "lz4": lz4_legacy(KERNEL) + SIZE,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(KERNEL) + SIZE,
}


@pytest.mark.parametrize("method", PAYLOADS)
def test_each_method_is_unpacked(method: str) -> None:
    assert unpack_payload(READER, PAYLOADS[method], len(KERNEL)) == KERNEL


def test_a_kernel_that_is_not_packed_is_taken_as_it_is() -> None:
    assert unpack_payload(READER, KERNEL, 1) == KERNEL


@pytest.mark.parametrize("method", PAYLOADS)
def test_a_payload_cut_off_is_refused(method: str) -> None:
    payload = PAYLOADS[method]
    for length in (7, 20, len(payload) // 2, len(payload) - 12):
        with pytest.raises(InputError, match="the packed kernel"):
            unpack_payload(READER, payload[:length] + SIZE, len(KERNEL))


@pytest.mark.parametrize("method", PAYLOADS)
def test_a_damaged_payload_is_refused(method: str) -> None:
    damaged = bytearray(PAYLOADS[method])
    middle = len(damaged) // 2
    damaged[middle : middle + 64] = bytes(byte ^ 0xFF for byte in damaged[middle : middle + 64])
    with pytest.raises(InputError, match="the packed kernel"):
        unpack_payload(READER, bytes(damaged), len(KERNEL))


@pytest.mark.parametrize("method", [method for method in PAYLOADS if method != "gzip"])
def test_more_than_the_size_says_is_refused(method: str) -> None:
    payload = PAYLOADS[method][:-4] + struct.pack("<I", len(KERNEL) - 1)
    with pytest.raises(InputError, match="the packed kernel"):
        unpack_payload(READER, payload, len(KERNEL))


def test_a_size_above_what_the_image_needs_is_refused() -> None:
    with pytest.raises(InputError, match="says that it unpacks to"):
        unpack_payload(READER, PAYLOADS["gzip"], len(KERNEL) - 1)


@pytest.mark.parametrize(
    ("payload", "message"),
    [(b"\x89LZO" + bytes(8), "lzo"), (bytes(8), "00000000"), (b"", "nothing")],
)
def test_an_unknown_method_is_named(payload: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        unpack_payload(READER, payload, 1 << 20)
