import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hypercall.cli.outputs import Output, open_output
from hypercall.errors import InputError


def never() -> None:
    pytest.fail("nothing failed")


class Slow(io.RawIOBase):
    """Takes three bytes at a time, as a pipe may."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.taken += bytes(data[:3])
        return min(3, len(data))


def test_a_file_gets_everything_when_closed(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    output = open_output(str(path), "error", "--trace", never)
    output.write_text("µs\n")
    assert path.read_bytes() == b"", "small pieces are kept back"
    output.write(b"x" * 100_000)
    assert len(path.read_bytes()) == 100_004
    output.write(b"end")
    output.flush()
    assert path.read_bytes().endswith(b"end")
    output.write(b".")
    output.close()
    assert path.read_bytes().endswith(b"end.")
    assert output.failure is None


def test_text_that_utf_8_cannot_hold_does_not_stop_a_run(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    output = open_output(str(path), "error", "--trace", never)
    output.write_text("a\udc80b")
    output.close()
    assert path.read_bytes() == b"a?b"


def test_a_stream_that_takes_little_at_a_time_gets_everything() -> None:
    stream = Slow()
    output = Output(stream, "slow", never, owned=False, terminal=True)  # type: ignore[arg-type]
    output.write(b"0123456789")
    assert stream.taken == b"0123456789"


def test_a_failure_is_told_once_and_the_rest_is_dropped() -> None:
    failures: list[str] = []
    with open("/dev/full", "wb", buffering=0) as full:
        output = Output(full, "full", lambda: failures.append("told"), owned=True, terminal=True)
        output.write(b"a")
        output.write(b"b")
        output.close()
    assert failures == ["told"]
    assert output.failure is not None
    assert output.failure.errno == 28


def test_a_reader_that_went_away_is_a_failure_like_any_other() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    failures: list[str] = []
    with os.fdopen(writer, "wb", buffering=0) as stream:
        output = Output(stream, "pipe", lambda: failures.append("told"), owned=True, terminal=False)
        output.write(b"a")
        assert not failures
        output.close()
    assert isinstance(output.failure, BrokenPipeError)
    assert failures == ["told"]


@pytest.mark.parametrize("standard", ["output", "error"])
def test_a_dash_is_a_standard_stream_and_stays_open(
    standard: str, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    output = open_output("-", standard, "--console", never)
    output.write(b"bytes \xff")
    output.close()
    (sys.stdout if standard == "output" else sys.stderr).write("still open")
    captured = capsysbinary.readouterr()
    written = captured.out if standard == "output" else captured.err
    assert written == b"bytes \xffstill open"
    assert output.name == f"the standard {standard}"


def test_a_file_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    for target, reason in (
        (str(tmp_path), "is a directory"),
        (str(tmp_path / "no" / "file"), "no such file"),
        ("", "is a directory"),
        ("a\0b", "null byte"),
    ):
        with pytest.raises(InputError, match=f"--trace: cannot write .*{reason}"):
            open_output(target, "error", "--trace", never)
