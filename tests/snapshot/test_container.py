import hashlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hypercall.errors import InputError
from hypercall.snapshot.container import (
    is_container,
    parse_json,
    read_container,
    write_container,
)

MAGIC = b"HCTEST\r\n"


def read(path: Path, largest: int = 1 << 20) -> dict[str, bytes]:
    return read_container(path, MAGIC, 3, "a test file", largest)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    write_container(path, MAGIC, 3, {"one": b"first", "two": bytes(100_000), "": b""})
    return path


def test_parts_come_back(written: Path) -> None:
    assert read(written) == {"one": b"first", "two": bytes(100_000), "": b""}
    assert written.stat().st_size < 1000


def test_a_file_is_known_by_how_it_begins(written: Path, tmp_path: Path) -> None:
    assert is_container(written, MAGIC)
    assert not is_container(written, b"HCOTHER\n")
    assert not is_container(tmp_path / "missing", MAGIC)


def test_a_file_is_replaced_as_a_whole(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write_container(written, MAGIC, 3, {"\u00e4": b""})
    assert written.read_bytes() == before
    write_container(written, MAGIC, 3, {"other": b"x"})
    assert read(written) == {"other": b"x"}
    assert [path.name for path in written.parent.iterdir()] == ["file"]


def test_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_container(tmp_path / "none" / "file", MAGIC, 3, {})


def resealed(head: bytes, content: bytes) -> bytes:
    packed = zstandard.ZstdCompressor().compress(content)
    return head[:10] + hashlib.sha256(packed).digest() + packed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", "is not a test file"),
        (lambda data: b"X" + data[1:], "is not a test file"),
        (lambda data: data[:20], "is not a test file"),
        (lambda data: data[:8] + b"\4" + data[9:], "format 4"),
        (lambda data: data[:-1], "checksum"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "checksum"),
        (lambda data: data[:10] + hashlib.sha256(b"junk").digest() + b"junk", "unpacked"),
        (lambda data: resealed(data, b"\3one"), "cut off"),
        (lambda data: resealed(data, b"\3one" + struct.pack("<Q", 1 << 63)), "cut off"),
        (lambda data: resealed(data, bytes(2 << 20)), "more than"),
    ],
)
def test_bad_files(written: Path, change: Callable[[bytes], bytes], message: str) -> None:
    written.write_bytes(change(written.read_bytes()))
    with pytest.raises(InputError, match=message):
        read(written)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "missing")


@given(st.binary(max_size=200))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    import tempfile

    head = MAGIC + struct.pack("<H", 3)
    with tempfile.NamedTemporaryFile() as file:
        file.write(resealed(head, content))
        file.flush()
        try:
            parts = read(Path(file.name))
        except InputError:
            return
    assert sum(map(len, parts.values())) <= len(content)


def test_what_the_first_part_does_not_allow_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_container(path, MAGIC, 3, {"head": b"1000", "two": bytes(500_000_000)})
    with pytest.raises(InputError, match="more than it may"):
        read_container(path, MAGIC, 3, "a test file", 1 << 10, int)
    write_container(path, MAGIC, 3, {"head": bytes(500_000_000)})
    with pytest.raises(InputError, match="more than it may"):
        read_container(path, MAGIC, 3, "a test file", 1 << 10, int)
    write_container(path, MAGIC, 3, {"head": b"5000", "two": bytes(3000)})
    assert set(read_container(path, MAGIC, 3, "a test file", 1 << 12, int)) == {"head", "two"}


def test_what_the_host_has_no_room_for_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_container(path, MAGIC, 3, {"head": b"500000000", "two": bytes(3000)})
    assert set(read_container(path, MAGIC, 3, "a test file", 1 << 12, int)) == {"head", "two"}
    monkeypatch.setattr("os.sysconf", lambda name: 64)
    with pytest.raises(InputError, match="half of this host's memory"):
        read_container(path, MAGIC, 3, "a test file", 1 << 12, int)


def test_many_parts_without_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_container(path, MAGIC, 3, {str(number): b"" for number in range(2000)})
    with pytest.raises(InputError, match="more than it may"):
        read(path)


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(InputError, match="no file"):
        read(Path(os.devnull))


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 40_000_000,
        b"[NaN]",
        b"[-Infinity]",
        b"9" * 5000,
        b"\xff",
        b'{"a":',
        b"[" * 100_000,
        b"[" + b"[]," * 20_000_000 + b"[]]",
    ],
)
def test_json_that_no_program_wrote(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_json(data)
