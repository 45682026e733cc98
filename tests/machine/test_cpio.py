import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from hypercall.machine.cpio import CpioArchive


class Entry(NamedTuple):
    name: str
    mode: int
    links: int
    device: tuple[int, int]
    data: bytes


def parse(archive: bytes) -> list[Entry]:
    entries: list[Entry] = []
    offset = 0
    while True:
        assert offset % 4 == 0
        assert archive[offset : offset + 6] == b"070701"
        fields = [int(archive[offset + 6 + 8 * n : offset + 14 + 8 * n], 16) for n in range(13)]
        name_end = offset + 110 + fields[11]
        name = archive[offset + 110 : name_end]
        assert name[-1:] == b"\0"
        start = -(-name_end // 4) * 4
        data = archive[start : start + fields[6]]
        assert len(data) == fields[6]
        offset = -(-(start + fields[6]) // 4) * 4
        if name == b"TRAILER!!!\0":
            assert archive[offset:].strip(b"\0") == b""
            return entries
        entry = Entry(name[:-1].decode(), fields[1], fields[4], (fields[9], fields[10]), data)
        entries.append(entry)


@pytest.fixture
def archive() -> CpioArchive:
    archive = CpioArchive()
    archive.add_directory("dev")
    archive.add_character_device("dev/console", 5, 1)
    archive.add_file("/lib/modules/a.ko", b"module", 0o640)
    archive.add_file("lib/modules/b.ko", b"12345")
    archive.add_symbolic_link("bin/sh", "busybox")
    return archive


def test_entries_come_in_order_with_their_directories(archive: CpioArchive) -> None:
    assert parse(archive.finish()) == [
        Entry("dev", 0o40755, 2, (0, 0), b""),
        Entry("dev/console", 0o20600, 1, (5, 1), b""),
        Entry("lib", 0o40755, 2, (0, 0), b""),
        Entry("lib/modules", 0o40755, 2, (0, 0), b""),
        Entry("lib/modules/a.ko", 0o100640, 1, (0, 0), b"module"),
        Entry("lib/modules/b.ko", 0o100644, 1, (0, 0), b"12345"),
        Entry("bin", 0o40755, 2, (0, 0), b""),
        Entry("bin/sh", 0o120777, 1, (0, 0), b"busybox"),
    ]


def test_a_directory_is_added_once(archive: CpioArchive) -> None:
    before = len(parse(archive.finish()))
    archive.add_directory("/dev/")
    archive.add_directory("/")
    assert len(parse(archive.finish())) == before


def test_the_size_is_a_multiple_of_512(archive: CpioArchive) -> None:
    assert len(archive.finish()) % 512 == 0


@pytest.mark.skipif(shutil.which("cpio") is None, reason="the program cpio is not installed")
def test_cpio_reads_it(archive: CpioArchive, tmp_path: Path) -> None:
    listing = subprocess.run(
        ["cpio", "-t"], input=archive.finish(), capture_output=True, check=True, cwd=tmp_path
    )
    assert b"lib/modules/a.ko" in listing.stdout.splitlines()
