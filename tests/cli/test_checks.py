from pathlib import Path

import pytest
from tests.checks.test_recorded import EMPTY, EMPTY_FOUND, FAST_IPI
from tests.trace.kvm.recordings import Entry, ftrace

from hypercall.checks.rules import RULES
from hypercall.cli.app import main
from hypercall.cli.checks import checks_command
from hypercall.errors import InputError
from hypercall.trace.description import RunDescription
from hypercall.trace.events import Event
from hypercall.trace.jsonl import JsonLinesWriter


def test_the_list_has_every_rule(capsys: pytest.CaptureFixture[str]) -> None:
    checks_command()
    lines = capsys.readouterr().out.splitlines()
    starts = [line.split()[0] for line in lines if line[:1] not in ("", " ")]
    assert starts == ["rule", *(rule.name for rule in RULES), str(len(RULES))]


def test_one_rule_with_why_it_matters(capsys: pytest.CaptureFixture[str]) -> None:
    checks_command("parameter_overlap")
    text = " ".join(capsys.readouterr().out.split())
    assert text.startswith("parameter-overlap (error)")
    assert "before it has read all input" in text
    assert "TLFS hypercall-interface" in text
    assert "recorded traces too" in text


def test_an_unknown_rule_is_told_with_what_is_near() -> None:
    with pytest.raises(InputError, match="did you mean parameter-overlap"):
        checks_command("overlap")


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["checks", *map(str, arguments)])
    assert isinstance(left.value.code, int)
    return left.value.code


def write_run(path: Path, checks: str, *events: Event) -> Path:
    written: list[str] = []
    description = RunDescription(source="hypercall", checks=checks)
    writer = JsonLinesWriter(written.append, {0x2222: "flush_\x1bnobody+0x4"}.get, description)
    writer.begin()
    for event in events:
        writer.write(event)
    path.write_text("".join(written))
    return path


def test_a_run_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "run.jsonl", "off", EMPTY, EMPTY)
    assert command(path) == 0
    out = capsys.readouterr().out
    assert "1 finding of the checks, 2 times in all" in out
    assert "warning empty-processor-set x2: HvCallFlushVirtualAddressSpace names no" in out
    assert "on VP 0 in flush_?nobody+0x4; TLFS datatypes/hv_vp_set" in out
    assert "Not checked, for want of the machine while it runs: unprivileged-caller, " in out
    assert command(path, "--strict") == 1


def test_what_was_found_as_it_ran_has_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(write_run(tmp_path / "run.jsonl", "stale", EMPTY, EMPTY_FOUND)) == 0
    out = capsys.readouterr().out
    assert "=> 2222  nop" in out
    assert "hecked" not in out


def test_a_clean_run_is_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_run(tmp_path / "run.jsonl", "stale")
    path.write_text(path.read_text() + path.read_text())
    assert command(path, "--strict") == 0
    assert capsys.readouterr().out == "\nThe checks found nothing.\n"


def test_a_trace_of_kvm_is_checked_and_its_damage_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.txt"
    entries = [Entry(5, 1, 0, "kvm_hv_hypercall", FAST_IPI | {"outgpa": 0}, "task")]
    path.write_bytes(ftrace(entries) + b"garbage\n")
    assert command(path) == 2
    out, error = capsys.readouterr()
    assert "warning empty-processor-set x1" in out
    # The place in the guest is not known, so none is shown.
    assert "on VP 0; TLFS datatypes" in out
    assert "damaged at line 5" in error
    assert "hypercall: note: " in error


def test_what_is_neither_rule_nor_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in (
        (("overlap",), "did you mean parameter-overlap"),
        ((tmp_path / "none",), "cannot read the trace"),
        ((tmp_path,), "trace"),
        ((Path(__file__),), "is no trace of KVM"),
        (("--strict",), "--strict is for a recorded run"),
        (("slow-form", "--strict"), "--strict is for a recorded run"),
    ):
        assert command(*arguments) == 2
        error = capsys.readouterr().err
        assert complaint in error
        assert error.count("\n") == 1
