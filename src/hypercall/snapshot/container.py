"""Files of named parts with a version and a checksum, such as snapshots and recordings are.

A file begins with 8 bytes that tell the kind, the version of the format (2 bytes, little-endian)
and the SHA-256 digest of the rest, which is packed with Zstandard: for each part its name's
length (1 byte), its name, its length (8 bytes) and its bytes.
"""

import hashlib
import os
import struct
import tempfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

from hypercall.errors import InputError

_HEAD = struct.Struct("<8sH32s")
_LENGTH = struct.Struct("<Q")
_LEVEL = 3
_PAGE_OF_FILE = 1 << 20


def write_container(path: Path, magic: bytes, version: int, parts: Mapping[str, bytes]) -> None:
    """Write a file as a whole or not at all.

    Args:
        path: where.
        magic: the 8 bytes that tell the kind.
        version: that of the format.
        parts: by name, which has at most 255 ASCII characters.

    Raises:
        InputError: it cannot be written.
    """
    packer = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    pieces = []
    for name, content in parts.items():
        label = name.encode("ascii")
        pieces.append(packer.compress(bytes([len(label)]) + label + _LENGTH.pack(len(content))))
        pieces.append(packer.compress(content))
    pieces.append(packer.flush())
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    try:
        _write(path, [_HEAD.pack(magic, version, digest.digest()), *pieces])
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror}): choose another place"
        ) from None


def _write(path: Path, pieces: list[bytes]) -> None:
    # Whoever reads the place finds the old file or the new one, but no half.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.writelines(pieces)
            os.fchmod(descriptor, 0o666 & ~_mask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def read_container(
    path: Path, magic: bytes, version: int, what: str, largest: int
) -> dict[str, bytes]:
    """Read a file.

    Args:
        path: where it is.
        magic: the 8 bytes that tell the kind.
        version: that of the format which can be read.
        what: what such a file is called, with its article.
        largest: how many bytes the parts may have together.

    Returns:
        the parts by name.

    Raises:
        InputError: it cannot be read, is of another kind or version, damaged, or too large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from None
    if len(data) < _HEAD.size or not data.startswith(magic):
        raise InputError(f"{path} is not {what}: it does not begin like one")
    _, found, digest = _HEAD.unpack_from(data)
    if found != version:
        raise InputError(
            f"{path} is {what} of format {found}, and this hypercall reads format {version}: "
            "make it anew, or use the hypercall that made it"
        )
    packed = memoryview(data)[_HEAD.size :]
    if hashlib.sha256(packed).digest() != digest:
        raise InputError(f"{path} is damaged (its checksum is wrong): get it again")
    return _parts(_unpacked(packed, path, largest), path)


def is_container(path: Path, magic: bytes) -> bool:
    """Return whether a file begins with the 8 bytes of a kind; not if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _unpacked(packed: memoryview, path: Path, largest: int) -> bytearray:
    unpacked = bytearray()
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed) as reader:
            while piece := reader.read(_PAGE_OF_FILE):
                unpacked += piece
                if len(unpacked) > largest:
                    raise InputError(f"{path} unpacks to more than {largest} bytes: it is no good")
    except (zstandard.ZstdError, MemoryError) as error:
        raise InputError(f"{path} cannot be unpacked ({error}): get it again") from None
    return unpacked


def _parts(content: bytearray, path: Path) -> dict[str, bytes]:
    parts: dict[str, bytes] = {}
    at = 0
    while at < len(content):
        name_end = at + 1 + content[at]
        start = name_end + _LENGTH.size
        if start > len(content):
            break
        end = start + _LENGTH.unpack_from(content, name_end)[0]
        if end > len(content):
            break
        parts[content[at + 1 : name_end].decode("ascii", "replace")] = bytes(content[start:end])
        at = end
    if at != len(content):
        raise InputError(f"{path} is damaged (a part of it is cut off): get it again")
    return parts


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
