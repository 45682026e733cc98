import os
from pathlib import Path

import pytest

from hypercall.cli.inputs import (
    check_input_file,
    check_output_file,
    parse_memory,
    parse_size,
    reason_of,
)
from hypercall.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("4096", 4096),
        ("256M", 256 << 20),
        ("256m", 256 << 20),
        ("1G", 1 << 30),
        ("64KiB", 64 << 10),
        ("64kb", 64 << 10),
        ("2 GiB", 2 << 30),
        ("1T", 1 << 40),
        ("512B", 512),
        (" 1G ", 1 << 30),
    ],
)
def test_sizes_are_powers_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "banana", "-1M", "1.5G", "0x1000", "1X", "G", "1GG", "1e9", "1 2", "9" * 5000, "²M"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a size"):
        parse_size(text)


def test_memory_is_some_whole_pages() -> None:
    assert parse_memory("1M") == 1 << 20
    with pytest.raises(InputError, match="too little"):
        parse_memory("64K")
    with pytest.raises(InputError, match="4096"):
        parse_memory("1048577")
    with pytest.raises(InputError, match="--memory: 'banana'"):
        parse_memory("banana")


def test_a_file_and_a_pipe_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    check_input_file(file, "image")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_input_file(pipe, "image")


def test_what_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the image .*missing: no such file"):
        check_input_file(tmp_path / "missing", "image")
    with pytest.raises(InputError, match=r"the initrd .*: it is a directory"):
        check_input_file(tmp_path, "initrd")
    with pytest.raises(InputError, match="it is not a file"):
        check_input_file(Path("/dev/zero"), "image")
    with pytest.raises(InputError, match="null"):
        check_input_file(Path("a\0b"), "image")
    with pytest.raises(InputError, match="not a directory"):
        check_input_file(Path("/dev/null/x"), "image")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch(mode=0)
    with pytest.raises(InputError, match="permission denied"):
        check_input_file(file, "image")


def test_an_output_must_not_be_an_input(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"image")
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(InputError, match=r"--trace: .*link is also the image"):
        check_output_file(link, "--trace", [("image", file)])
    check_output_file(tmp_path / "other", "--trace", [("image", file)])


def test_two_outputs_must_differ_before_they_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose another"):
        check_output_file(
            tmp_path / "x" / ".." / "new", "--trace", [("console file", tmp_path / "new")]
        )
    check_output_file(Path("/dev/null"), "--trace", [("console file", Path("/dev/null"))])


def test_reasons_have_neither_number_nor_file_name() -> None:
    assert reason_of(FileNotFoundError(2, "No such file or directory", "x")) == (
        "no such file or directory"
    )
    assert reason_of(ValueError("embedded null byte")) == "embedded null byte"
