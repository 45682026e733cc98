"""Files of named parts with a version and a checksum, such as snapshots and recordings are.

A file begins with 8 bytes that tell the kind, the version of the format (2 bytes, little-endian)
and the SHA-256 digest of the rest, which is packed with Zstandard: for each part its name's
length (1 byte), its name, its length (8 bytes) and its bytes.
"""

import hashlib
import json
import os
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import zstandard

from hypercall.errors import InputError

_HEAD = struct.Struct("<8sH32s")
_LENGTH = struct.Struct("<Q")
_LEVEL = 3
_PAGE_OF_FILE = 1 << 20
_OF_A_PART = 1 << 10
_MOST_VALUES = 30_000_000


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
    path: Path,
    magic: bytes,
    version: int,
    what: str,
    largest: int,
    rest: Callable[[bytes], int] | None = None,
) -> dict[str, bytes]:
    """Read a file.

    Nothing is held that is larger than allowed, whatever the file says of itself.

    Args:
        path: where it is.
        magic: the 8 bytes that tell the kind.
        version: that of the format which can be read.
        what: what such a file is called, with its article.
        largest: how many bytes the parts may have together; the first one alone with `rest`.
        rest: gets the first part, and returns how many bytes the others may have together.

    Returns:
        the parts by name.

    Raises:
        InputError: it cannot be read, is of another kind or version, damaged, or too large.
    """
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is not {what}: it is no file")
            _check_head(path, file, magic, version, what)
            unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            with unpacker.stream_reader(file, closefd=False) as reader:
                return _Parts(reader, path, largest).read(rest)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path") from None
    except (zstandard.ZstdError, MemoryError) as error:
        raise InputError(f"{path} cannot be unpacked ({error}): get it again") from None


@contextmanager
def one_line(path: Path, what: str, mend: str) -> Iterator[None]:
    """Make whatever goes wrong with a stranger's file one line.

    Args:
        path: the file.
        what: what is said of it where the reason is not an `InputError`.
        mend: what to do then.

    Raises:
        InputError: something went wrong.
    """
    try:
        yield
    except InputError as error:
        text = str(error)
        raise InputError(text if text.startswith(f"{path} ") else f"{path}: {text}") from None
    except Exception as error:
        # Anything may be wrong with what a stranger made up, and whoever takes it finds it out.
        raise InputError(
            f"{path} {what} ({type(error).__name__}: {str(error)[:200]}): {mend}"
        ) from None


def _check_head(path: Path, file: BufferedReader, magic: bytes, version: int, what: str) -> None:
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size or not head.startswith(magic):
        raise InputError(f"{path} is not {what}: it does not begin like one")
    _, found, digest = _HEAD.unpack(head)
    if found != version:
        raise InputError(
            f"{path} is {what} of format {found}, and this hypercall reads format {version}: "
            "make it anew, or use the hypercall that made it"
        )
    if hashlib.file_digest(file, hashlib.sha256).digest() != digest:
        raise InputError(f"{path} is damaged (its checksum is wrong): get it again")
    file.seek(_HEAD.size)


def parse_json(data: bytes) -> Any:
    """Return what a part of JSON says.

    Raises:
        ValueError: it is no JSON, or has so many values that they would fill the memory.
        RecursionError: it is nested too deeply.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > _MOST_VALUES:
        raise ValueError("there are too many values")
    return json.loads(data, parse_constant=_no_number)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def is_container(path: Path, magic: bytes) -> bool:
    """Return whether a file begins with the 8 bytes of a kind; not if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


class _Parts:
    """Reads the parts one after the other, and counts their bytes."""

    def __init__(self, reader: zstandard.ZstdDecompressionReader, path: Path, room: int) -> None:
        self._reader = reader
        self._path = path
        self._room = room

    def read(self, rest: Callable[[bytes], int] | None) -> dict[str, bytes]:
        """Read them all."""
        parts: dict[str, bytes] = {}
        while length := self._reader.read(1):
            name = self._take(length[0]).decode("ascii", "replace")
            (size,) = _LENGTH.unpack(self._take(_LENGTH.size))
            # Names count too, or many parts without content would not.
            self._room -= _OF_A_PART
            if size > self._room:
                self._pass(self._room + 1)
                raise InputError(
                    f"{self._path} unpacks to more than it may hold, or than half of this host's"
                    " memory: it is no good, or made on a larger host"
                )
            self._room -= size
            parts[name] = self._take(size)
            if len(parts) == 1 and rest is not None:
                self._room = min(rest(parts[name]), _host_room())
        return parts

    def _take(self, size: int) -> bytes:
        return b"".join(self._pieces(size))

    def _pass(self, size: int) -> None:
        for _ in self._pieces(max(size, 0)):
            pass

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._reader.read(min(size, _PAGE_OF_FILE))
            if not piece:
                raise InputError(f"{self._path} is damaged (a part of it is cut off): get it again")
            size -= len(piece)
            yield piece


def _host_room() -> int:
    """Return how many bytes may be unpacked here: what is read is held twice for a moment."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
