import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.trace.kvm.recordings import Entry, ftrace, perf, trace_dat
from tests.trace.kvm.test_reader import FILES

from hypercall.cli.app import main
from hypercall.cli.exit_code import ExitCode

ENTRIES = [
    Entry(2_000_000_000, 7, 0, "kvm_exit", {"guest_rip": 0x1234, "vcpu_id": 3}),
    Entry(2_000_001_000, 7, 0, "kvm_hv_hypercall", {"code": 0xB, "fast": 1, "ingpa": 9}),
    Entry(2_000_002_000, 7, 0, "kvm_hv_hypercall_done", {"result": 5}),
    Entry(2_000_003_000, 7, 0, "kvm_entry", {"vcpu_id": 3}),
    Entry(2_000_004_000, 7, 0, "kvm_inj_virq", {"vector": 0xF3}),
]
CALL = (
    "   2.000000000 vp3 HvCallSendSyntheticClusterIpi(vector=0x9, target_vtl=own,"
    " processor_mask={}) = INVALID_PARAMETER  <3.0us>  [0x1234]\n"
)
INTERRUPT = "   2.000004000 vp3 interrupt 0xf3 (external)\n"


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(each) for each in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.dat"
    path.write_bytes(trace_dat(ENTRIES, compression="zstd"))
    return path


def test_calls_are_lines(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", trace) == ExitCode.PASSED
    assert capsys.readouterr() == (CALL + INTERRUPT, "")


def test_json_lines(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.jsonl"
    assert run("import", trace, "-o", output) == ExitCode.PASSED
    first, call, interrupt = map(json.loads, output.read_text().splitlines())
    assert first["source"] == "kvm"
    assert call["call"] == "HvCallSendSyntheticClusterIpi"
    assert (call["vp"], call["time_ns"], call["duration_ns"]) == (3, 2_000_000_000, 3000)
    assert interrupt["vector"] == 0xF3
    assert run("import", trace, "-o", "-") == ExitCode.PASSED
    assert capsys.readouterr().out == output.read_text()


def test_statistics(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", trace, "--statistics") == ExitCode.PASSED
    out = capsys.readouterr().out
    assert "1 hypercall" in out
    assert "INVALID_PARAMETER" in out
    assert "5 records" in out


def test_a_damaged_trace_is_shown_and_then_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(ftrace(ENTRIES) + b"garbage\nmore of it\n")
    for options, shown in (([], CALL), (["--statistics"], "1 hypercall"), (["-o", "-"], "{")):
        assert run("import", path, *options) == ExitCode.BAD_INPUT
        out, error = capsys.readouterr()
        assert shown in out
        assert error.count("\n") == 1
        assert "damaged at line 9: " in error
        assert "and 1 more place;" in error


def test_notes_are_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(perf([Entry(5, 1, 0, "kvm_hv_hypercall", {"code": 2}, "task")]))
    assert run("import", path) == ExitCode.PASSED
    assert capsys.readouterr().err.startswith("hypercall: note: the trace does not tell")


def test_only_some_threads(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", trace, "--pid", 7) == ExitCode.PASSED
    assert capsys.readouterr().out == CALL + INTERRUPT
    assert run("import", trace, "--pid", 8, "--pid", 9) == ExitCode.PASSED
    assert capsys.readouterr().out == ""


def test_checks(trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = "warning empty-processor-set x1: HvCallSendSyntheticClusterIpi names no processor."
    lines = tmp_path / "out.jsonl"
    for options, shown in (
        (["--check"], CALL + INTERRUPT),
        (["--check", "--statistics"], "1 hypercall"),
        (["--check", "-o", lines], ""),
    ):
        assert run("import", trace, *options) == ExitCode.PASSED
        out, error = capsys.readouterr()
        assert shown in out
        assert out.count(empty) == 1
        assert "Not checked, for want of what CPUID recommends" in out
        assert error == ""
    assert run("import", trace, "--check", "-o", "-") == ExitCode.PASSED
    out, error = capsys.readouterr()
    assert out == lines.read_text()
    assert empty in error
    assert run("import", trace, "--check", "--pid", 8) == ExitCode.PASSED
    assert "The checks found nothing." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "csv"], "--format: 'csv' is none of"),
        (["--statistics", "-o", "x"], "choose one of the two"),
        (["--format", "trace.dat"], "does not begin as one"),
    ],
)
def test_usage(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(ftrace(ENTRIES))
    assert run("import", path, *options) == ExitCode.BAD_INPUT
    assert message in capsys.readouterr().err


def test_files_that_are_no_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "none", Path(__file__)):
        assert run("import", path) == ExitCode.BAD_INPUT
        assert capsys.readouterr().err.count("\n") == 1


def test_an_output_that_is_the_trace_itself(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = trace.read_bytes()
    assert run("import", trace, "-o", trace) == ExitCode.BAD_INPUT
    assert "is also the trace" in capsys.readouterr().err
    assert trace.read_bytes() == before


def test_an_output_that_cannot_be_written(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", trace, "-o", "/dev/full") == ExitCode.OUTPUT_FAILED
    assert "No space left" in capsys.readouterr().err


@pytest.fixture
def lines(trace: Path, tmp_path: Path) -> Path:
    path = tmp_path / "run.jsonl"
    assert run("import", trace, "-o", path) == ExitCode.PASSED
    return path


def test_json_lines_are_shown_too(lines: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("import", lines) == ExitCode.PASSED
    assert capsys.readouterr() == (CALL + INTERRUPT, "")
    assert run("import", lines, "--format", "jsonl", "--statistics") == ExitCode.PASSED
    assert "INVALID_PARAMETER" in capsys.readouterr().out
    for option in (["-o", "-"], ["--pid", "7"]):
        assert run("import", lines, *option) == ExitCode.BAD_INPUT
        assert "JSON lines of a run" in capsys.readouterr().err
    with lines.open("ab") as stream:
        stream.write(b'{"event"\n\xff\n')
    assert run("import", lines) == ExitCode.BAD_INPUT
    out, error = capsys.readouterr()
    assert out == CALL + INTERRUPT
    assert "damaged at line 4, byte" in error
    assert "and 1 more place;" in error


def test_lines_from_a_pipe(lines: Path) -> None:
    command = [sys.executable, "-c", "from hypercall.cli.app import main; main()", "import", "-"]
    done = subprocess.run(command, input=lines.read_bytes(), capture_output=True, check=True)
    assert done.stdout.decode() == CALL + INTERRUPT


def test_the_same_calls_by_way_of_json_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `stats` and `report` tell of a trace, they tell of its JSON lines."""
    original, read_back = tmp_path / "trace.dat", tmp_path / "out.jsonl"
    original.write_bytes(FILES["zstd"]())
    assert run("import", original, "-o", read_back) == ExitCode.PASSED
    told = []
    for path in (original, read_back):
        capsys.readouterr()
        assert run("stats", path) == ExitCode.PASSED
        told.append(capsys.readouterr().out.partition(" records")[0].rpartition("\n")[0])
        assert run("report", path, "-o", path.with_suffix(".html")) == ExitCode.PASSED
    assert told[0] == told[1]
    assert "41 hypercalls" in told[0]
    first, second = (data_of(path.with_suffix(".html")) for path in (original, read_back))
    for report in (first, second):
        assert report["description"]["source"] == "kvm"
        # The one has the name of the file.
        report["description"].pop("image", None)
    assert first == second


def data_of(page: Path) -> Any:
    """What a report has to show."""
    text = page.read_text()
    data = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert data is not None
    return json.loads(data[1])
