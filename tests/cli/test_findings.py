import io
from pathlib import Path

import pytest
from fake_machine import FakeMachine

from hypercall.checks import Finding
from hypercall.checks.placement import OVERLAP
from hypercall.cli.findings import write_findings
from hypercall.cli.guest import RunOptions
from hypercall.cli.session import run_guest
from hypercall.trace.events import Position


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(b"\xf4")
    return path


def run(image: Path, script: str, check: str) -> int:
    return run_guest(RunOptions(image, check=check), lambda options: FakeMachine(options, script))


@pytest.mark.parametrize(
    ("script", "check", "code"),
    [
        ("mistake,POWER_OFF", "warn", 0),
        ("mistake,POWER_OFF", "strict", 1),
        ("mistake,POWER_OFF", "off", 0),
        ("advice,POWER_OFF", "strict", 0),
        ("POWER_OFF", "strict", 0),
        ("mistake,PANIC", "strict", 1),
        ("LIMIT", "strict", 3),
    ],
)
def test_a_mistake_fails_a_strict_run(image: Path, script: str, check: str, code: int) -> None:
    assert run(image, script, check) == code


def test_a_strict_run_ends_at_the_mistake(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(image, "mistake,text,POWER_OFF", "strict")
    assert "hello" not in capsys.readouterr().out
    run(image, "mistake,text,POWER_OFF", "warn")
    assert "hello" in capsys.readouterr().out


def test_findings_are_told_at_the_end(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(image, "mistake,advice,POWER_OFF", "warn")
    error = capsys.readouterr().err
    assert "2 findings of the checks; `hypercall checks RULE`" in error
    assert "error parameter-overlap x1: The guest did it." in error
    assert "on VP 1 in function+0x20; TLFS hypercall-interface" in error
    run(image, "mistake,POWER_OFF", "off")
    assert "findings" not in capsys.readouterr().err


def test_a_finding_shows_its_count_and_code() -> None:
    stream = io.StringIO()
    finding = Finding(OVERLAP, Position(1_500_000, 0, 1, 0x1003), "It did it.", 1234)
    finding.code, finding.code_address = b"\x0f\x01\xc1\xc3", 0x1000
    again = Finding(OVERLAP, Position(1_600_000, 0, 0, 0x2000), "It did it too.")
    write_findings(stream, [finding, again], lambda finding: "f+0x3")
    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("2 findings of the checks, 1,235 times in all;")
    assert lines[2] == "error parameter-overlap x1,234: It did it."
    assert lines[3].startswith("    at 0.001500 s on VP 0 VTL 1 in f+0x3; TLFS ")
    assert lines[4:6] == ["           1000  vmcall", "        => 1003  ret"]
    assert lines[6] == f"    why: {OVERLAP.why}"
    # Once for each rule.
    assert lines[7] == "error parameter-overlap x1: It did it too."
    assert len(lines) == 9


def test_no_findings_are_not_mentioned() -> None:
    stream = io.StringIO()
    write_findings(stream, [], lambda finding: "")
    assert stream.getvalue() == ""
