"""Unpacks the kernel inside a bzImage, with whichever method it was packed."""

import bz2
import lzma
import zlib
from collections.abc import Callable

import lz4.block
import zstandard

from hypercall.machine.loaders.image_reader import ImageReader

_LZ4_LEGACY_BLOCK = 8 << 20
_LZMA_MEMORY_LIMIT = 512 << 20
# The window that the kernel's build gives zstd: 2^27 at most.
_ZSTD_WINDOW_LIMIT = 1 << 27


def _gzip(data: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    result = unpacker.decompress(data, limit)
    return _whole(result, unpacker.eof)


def _xz(data: bytes, limit: int) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY_LIMIT)
    result = unpacker.decompress(data, limit)
    return _whole(result, unpacker.eof)


def _lzma(data: bytes, limit: int) -> bytes:
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_LZMA_MEMORY_LIMIT)
    result = unpacker.decompress(data, limit)
    return _whole(result, unpacker.eof)


def _bzip2(data: bytes, limit: int) -> bytes:
    unpacker = bz2.BZ2Decompressor()
    result = unpacker.decompress(data, limit)
    return _whole(result, unpacker.eof)


def _lz4_legacy(data: bytes, limit: int) -> bytes:
    # A magic number, then blocks that each say their packed size.
    position, end = 4, len(data)
    blocks: list[bytes] = []
    total = 0
    while position < end:
        size = int.from_bytes(data[position : position + 4], "little")
        position += 4
        if position + size > end:
            raise ValueError("a block is cut off")
        block = lz4.block.decompress(
            data[position : position + size], uncompressed_size=_LZ4_LEGACY_BLOCK
        )
        blocks.append(block)
        position += size
        total += len(block)
        if total > limit:
            raise ValueError("it unpacks to more than it should")
    return b"".join(blocks)


def _zstd(data: bytes, limit: int) -> bytes:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_LIMIT)
    with unpacker.stream_reader(data, read_size=1 << 20) as reader:
        pieces: list[bytes] = []
        total = 0
        while piece := reader.read(1 << 20):
            pieces.append(piece)
            total += len(piece)
            if total > limit:
                raise ValueError("it unpacks to more than it should")
    return b"".join(pieces)


def _whole(result: bytes, ended: bool) -> bytes:
    if not ended:
        raise ValueError("it is cut off or unpacks to more than it should")
    return result


_METHODS: tuple[tuple[bytes, str, Callable[[bytes, int], bytes] | None], ...] = (
    (b"\x1f\x8b", "gzip", _gzip),
    (b"\xfd7zXZ\0", "xz", _xz),
    (b"\x02\x21\x4c\x18", "lz4", _lz4_legacy),
    (b"\x28\xb5\x2f\xfd", "zstd", _zstd),
    (b"BZh", "bzip2", _bzip2),
    (b"\x5d\0\0", "lzma", _lzma),
    (b"\x89LZO", "lzo", None),
)


def unpack_payload(reader: ImageReader, payload: bytes, limit: int) -> bytes:
    """Unpack a kernel.

    Args:
        reader: the bzImage, named in errors.
        payload: the packed kernel.
        limit: the most bytes that the result may have.

    Raises:
        InputError: the payload is damaged, or packed with a method that is not known.
    """
    if payload.startswith(b"\x7fELF"):
        return payload
    # Every method's payload ends with the unpacked size in four bytes.
    size = int.from_bytes(payload[-4:], "little")
    if size > limit:
        raise reader.fail(
            f"the packed kernel says that it unpacks to {size} bytes, and the image says that "
            f"{limit} are enough; get the file again"
        )
    for magic, method, unpack in _METHODS:
        if not payload.startswith(magic):
            continue
        if unpack is None:
            raise reader.fail(f"the kernel is packed with {method}, which is not supported")
        try:
            # Gzip's format has the size as its own trailer; after the others the build adds it.
            kernel = unpack(payload if method == "gzip" else payload[:-4], size)
        except (
            ValueError,
            EOFError,
            OSError,
            MemoryError,
            zlib.error,
            lzma.LZMAError,
            lz4.block.LZ4BlockError,
            zstandard.ZstdError,
        ) as error:
            raise reader.fail(
                f"the packed kernel ({method}) is damaged: {error}; get the file again"
            ) from error
        if len(kernel) != size:
            raise reader.fail(
                f"the packed kernel ({method}) unpacks to {len(kernel)} bytes and not to the "
                f"{size} that it says; get the file again"
            )
        return kernel
    raise reader.fail(
        f"the packed kernel starts with {payload[:4].hex() or 'nothing'}, "
        "which is no packing method that is known"
    )
