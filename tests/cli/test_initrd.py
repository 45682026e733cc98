import os
import stat
from pathlib import Path

import pytest

from hypercall.cli.app import main


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    """The smallest thing that is a static ELF program for x86-64."""
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    numbers = [(2, 2), (62, 2), (1, 4), (0x1000, 8), (64, 8), (0, 8), (0, 4)]
    numbers += [(64, 2), (56, 2), (1, 2), (64, 2), (0, 2), (0, 2)]
    header += b"".join(value.to_bytes(size, "little") for value, size in numbers)
    words = [0, 0x1000, 0x1000, 120, 120, 0x1000]
    header += b"\1\0\0\0\5\0\0\0" + b"".join(word.to_bytes(8, "little") for word in words)
    path = tmp_path / "busybox"
    path.write_bytes(header)
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as leaving:
        main(["initrd", *map(str, arguments)])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code, capsys.readouterr().err


def test_an_archive_is_written(
    busybox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "initrd"
    assert call(capsys, "--busybox", busybox, "-o", output) == (0, "")
    data = output.read_bytes()
    assert data.startswith(b"070701")
    assert busybox.read_bytes() in data
    assert b"poweroff -f" in data
    assert call(capsys, "--busybox", busybox, "-o", output, "--shell") == (0, "")
    assert output.read_bytes() != data


def test_an_init_script_of_the_users_is_taken_as_it_is(
    busybox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, output = tmp_path / "init", tmp_path / "initrd"
    script.write_bytes(b"#!/bin/sh\necho caf\xe9 \xc3\xa9\n")
    assert call(capsys, "--busybox", busybox, "-o", output, "--init", script) == (0, "")
    assert script.read_bytes() in output.read_bytes()


def test_bad_input_is_one_line_and_exit_code_2(
    busybox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, output = tmp_path / "text", tmp_path / "initrd"
    text.write_text("no program")
    for arguments, complaint in (
        (["--busybox", text, "-o", output], "text"),
        (["--busybox", tmp_path / "none", "-o", output], "cannot read the busybox"),
        (["--busybox", busybox, "-o", tmp_path], "-o: cannot write"),
        (["--busybox", busybox, "-o", busybox], "is also the busybox"),
        (["--busybox", busybox, "-o", output, "--init", tmp_path], "it is a directory"),
        (["--busybox", busybox, "-o", output, "--init", text, "--shell"], "one of them"),
        (["--busybox", busybox], "-o"),
    ):
        code, shown = call(capsys, *arguments)
        assert code == 2
        assert complaint in shown
        assert shown.startswith("hypercall: ")
        assert shown.count("\n") == 1
    assert not output.exists()
    assert stat.S_ISREG(os.stat(busybox).st_mode)


def test_a_full_disk_is_one_line(busybox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = call(capsys, "--busybox", busybox, "-o", "/dev/full")
    assert code == 2
    assert shown == "hypercall: -o: cannot write /dev/full: no space left on device\n"
