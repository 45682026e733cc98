from pathlib import Path

import pytest
from tests.report.samples import write_trace

from hypercall.cli.app import main


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["report", *map(str, arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_run_becomes_a_page(tmp_path: Path) -> None:
    run, page = write_trace(tmp_path / "run.jsonl"), tmp_path / "page.html"
    assert command(run, "-o", page) == 0
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "<title>vmlinuz</title>" in text
    assert "send+0x4" in text


def test_to_the_standard_output(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert command(write_trace(tmp_path / "run.jsonl"), "-o", "-", "--events", 0) == 0
    assert b"<title>vmlinuz</title>" in capfdbinary.readouterr().out


def test_a_damaged_run_gives_a_page_and_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, page = write_trace(tmp_path / "run.jsonl"), tmp_path / "page.html"
    run.write_bytes(run.read_bytes()[:-9])
    assert command(run, "-o", page) == 2
    assert "is damaged at line 22, byte" in capsys.readouterr().err
    assert "The recording is damaged at line 22" in page.read_text()


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_trace(tmp_path / "run.jsonl")
    for arguments, complaint in (
        ((run,), "--output"),
        ((run, "-o", run), "--output: "),
        ((run, "-o", tmp_path / "no" / "page"), "--output: cannot write"),
        ((run, "-o", tmp_path / "page", "--events", -1), "--events: -1 is not between 0 and"),
        ((tmp_path / "nothing", "-o", tmp_path / "page"), "cannot read the trace"),
    ):
        assert command(*arguments) == 2
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count("\n") == 1
