from dataclasses import replace
from pathlib import Path

import pytest
from recorded_guest import record
from tests.trace.kvm.recordings import Entry, perf
from tests.trace.test_counts import EVENTS, written

from hypercall.cli.app import main
from hypercall.cli.exit_code import ExitCode
from hypercall.recording.recording import Recording


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(each) for each in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(written(EVENTS)))
    assert run("stats", path) == ExitCode.PASSED
    out = capsys.readouterr().out
    assert "7 hypercalls" in out
    assert "send+0x4" in out
    assert "11 records" in out


def test_a_trace_of_kvm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.txt"
    path.write_bytes(perf([Entry(5, 1, 0, "kvm_hv_hypercall", {"code": 2})]))
    assert run("stats", path) == ExitCode.PASSED
    assert "1 hypercall" in capsys.readouterr().out


def test_a_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = record(tmp_path, monkeypatch)
    capsys.readouterr()
    assert run("stats", path) == ExitCode.PASSED
    again = capsys.readouterr().out
    assert run("stats", tmp_path / "first.jsonl") == ExitCode.PASSED
    assert again == capsys.readouterr().out
    assert "20 hypercalls" in again


def test_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, trace = tmp_path / "trace.jsonl", tmp_path / "trace.txt"
    lines.write_text("".join(written(EVENTS)) + "garbage\n")
    trace.write_bytes(perf([Entry(5, 1, 0, "kvm_hv_hypercall", {"code": 0x5C, "ingpa": 4})]))
    for path, code in ((lines, ExitCode.BAD_INPUT), (trace, ExitCode.PASSED)):
        assert run("stats", path) == code
        assert "hecked" not in capsys.readouterr().out
        assert run("stats", path, "--check") == code
        out = capsys.readouterr().out
        assert "hypercall" in out
        assert "Not checked, for want of" in out
    assert "error parameter-alignment x1" in out


def test_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(written(EVENTS)) + "garbage\nmore\n")
    assert run("stats", path) == ExitCode.BAD_INPUT
    out, error = capsys.readouterr()
    assert "7 hypercalls" in out
    assert "damaged at line 13: " in error
    assert "and 1 more line;" in error


def test_what_is_no_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other"
    path.write_text("hello\n")
    assert run("stats", path) == ExitCode.BAD_INPUT
    assert "is no trace of KVM" in capsys.readouterr().err


@pytest.mark.parametrize("options", [(), ("--check",)])
def test_a_recording_that_comes_out_differently(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    recording = Recording.load(record(tmp_path, monkeypatch))
    recording.inputs[0] = replace(recording.inputs[0], data=b"x")
    recording.save(tmp_path / "other.hcrun")
    capsys.readouterr()
    assert run("stats", tmp_path / "other.hcrun", *options) == ExitCode.PASSED
    assert "hypercall: note: The run is not the recorded one" in capsys.readouterr().err
