from pathlib import Path

import pyarrow.parquet
import pytest
from tests.report.samples import write_trace

from hypercall.cli.app import main


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([*map(str, arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_table_of_calls_and_of_others(tmp_path: Path) -> None:
    run, table = write_trace(tmp_path / "run.jsonl"), tmp_path / "calls.parquet"
    assert command("export", run, "-o", table) == 0
    read = pyarrow.parquet.read_table(table)
    assert read.num_rows == 4
    assert "send+0x4" in read["symbol"].to_pylist()
    assert command("export", run, "-o", table, "--kind", "interrupt") == 0
    assert pyarrow.parquet.read_table(table)["vector"].to_pylist() == [0xFB, 0xFB, 0xF3]


def test_a_recorded_run_gives_the_file_that_the_run_itself_does(tmp_path: Path) -> None:
    lines, direct, later = (tmp_path / name for name in ("a.jsonl", "b.pftrace", "c.pftrace"))
    quiet = ("--console", tmp_path / "console")
    run = ("run", *quiet, "--trace")
    assert command(*run, lines, "--trace-format", "jsonl", "--trace-events", "all") == 0
    assert command(*run, direct, "--trace-format", "perfetto") == 0
    assert command("export", lines, "-o", later) == 0
    assert later.read_bytes() == direct.read_bytes()
    assert len(direct.read_bytes()) > 10_000


def test_of_a_damaged_run_what_can_be_read_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, table = write_trace(tmp_path / "run.jsonl"), tmp_path / "calls.parquet"
    run.write_text(run.read_text().replace('"code":48879', '"code":'))
    assert command("export", run, "-o", table) == 2
    assert pyarrow.parquet.read_table(table).num_rows == 3
    assert "run.jsonl is damaged at line 21, byte" in capsys.readouterr().err


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_trace(tmp_path / "run.jsonl")
    table = tmp_path / "table.parquet"
    for arguments, complaint in (
        (
            (run, "-o", tmp_path / "table.csv"),
            "has no known ending: give .parquet, .pftrace or .txt",
        ),
        ((run, "-o", table, "--kind", "launch"), "--kind: there is no 'launch'"),
        ((run, "-o", tmp_path / "no" / "table.parquet"), "cannot write"),
        ((tmp_path / "nothing", "-o", table), "cannot read the trace"),
    ):
        assert command("export", *arguments) == 2
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count("\n") == 1


def test_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, text = write_trace(tmp_path / "run.jsonl"), tmp_path / "run.txt"
    assert command("export", run, "-o", text) == 0
    assert command("import", run) == 0
    assert capsys.readouterr().out == text.read_text()
    assert "HvCall" in text.read_text()
    with run.open("a") as stream:
        stream.write("{")
    assert command("export", run, "-o", text) == 2
    assert "what could be read was read" in capsys.readouterr().err
