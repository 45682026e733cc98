import io
import json
from pathlib import Path

import pytest
import typer.main
from tests.guests.assembly import call, enable_hypercalls, library
from tests.guests.kit import assemble

from hypercall.cli import app
from hypercall.cli.sweep import outcome_line, row_line, write_table
from hypercall.faults.judgement import Outcome
from hypercall.faults.sweep import Row

# The first failure is the value that the guest leaves with, the second one does not matter.
SOURCE = f"""
    {enable_hypercalls()}
    {call(0x10002, 0, 3)}
    movzx ebx, ax
    {call(0x1000B, 0x41, 0)}
    mov eax, ebx
    ret
    {library()}
"""
ROWS = [
    Row(1, "call=X,[y]", "f[0]+0x1", Outcome.SURVIVED, "", "POWER_OFF", None, 1_500_000_000),
    Row(2, "timer,drop", None, Outcome.FAILED, "the process died"),
    Row(3, "timer,drop", None, Outcome.SURVIVED, ""),
]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "guest.bin"
    path.write_bytes(assemble(SOURCE))
    return path


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as leaving:
        app.main(["sweep", *map(str, arguments)])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def test_a_guest_that_does_not_survive(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(image, "--status", "TIMEOUT") == 1
    shown = capsys.readouterr()
    lines = [line for line in shown.out.splitlines() if "TIMEOUT" in line]
    assert "call=FlushVirtualAddressSpace,nth=1,status=TIMEOUT" in lines[0]
    assert "corrupted" in lines[0]
    assert "debug exit with the value 120" in lines[0]
    assert "survived" in lines[1]
    assert "2 points: 1 corrupted, 1 survived." in shown.err


def test_a_guest_that_survives(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--call", "HvCallSendSyntheticClusterIpi", "--output", "jsonl", "--max", 1)
    assert command(image, *arguments, "--memory", "16M") == 0
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line)
    assert row["fault"] == "call=SendSyntheticClusterIpi,nth=1,status=INVALID_PARAMETER"
    assert (row["number"], row["outcome"], row["reason"]) == (1, "survived", "DEBUG_EXIT")
    assert row["exit_code"] == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--cpus", 65], "--cpus: 65 is not between 1 and 64"),
        (["--seed", -1], "--seed: -1 is not between"),
        (["--memory", "1X"], "--memory: '1X' is not a size"),
        (["--like", "acrn"], "--like: there is no 'acrn'"),
        (["--privileges", "+Nothing"], "--privileges: 'Nothing' is no privilege"),
        (["--entry", "bios"], "--entry: there is no 'bios'"),
        (["--initrd", "/nowhere/at/all"], "cannot read the initrd"),
        (["--call", "Frobnicate"], "--call: no call is named 'Frobnicate'"),
        (["--status", "BROKEN"], "--status: no status is named BROKEN"),
        (["--drop", "packets"], "--drop: there is no 'packets': give interrupts, messages or"),
        (["--no-calls"], "--no-calls leaves nothing to try: add --drop"),
        (["--no-calls", "--call", "2"], "exclude one another"),
        (["--max", 0], "--max: 0 points are none"),
        (["--factor", 0.5], "--factor: 0.5 is not a number from 1 on"),
        (["--factor", "nan"], "--factor: nan is not"),
        (["--limit", 0], "--limit: 0 is not"),
        (["--jobs", 0], "--jobs: 0 is not between"),
        (["--output", "csv"], "--output: there is no 'csv': give table or jsonl"),
        (["--expect", "all is well"], "even without faults the console has no 'all is well'"),
        (["--call", "PostMessage"], "the guest calls HvCallFlushVirtualAddressSpace"),
    ],
)
def test_a_mistake_is_one_line(
    image: Path, arguments: list[object], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(image, *arguments) == 2
    shown = capsys.readouterr()
    assert complaint in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_an_image_must_be_there_twice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command(tmp_path / "missing") == 2
    assert "cannot read the image" in capsys.readouterr().err


def test_rows_for_people() -> None:
    stream = io.StringIO()
    write_table(stream, ROWS)
    text = stream.getvalue()
    assert "call=X,[y]" in text
    assert "f[0]+0x1" in text
    assert "1.500" in text
    assert "the process died" in text


def test_rows_for_programs() -> None:
    assert json.loads(row_line(ROWS[1])) == {
        "number": 2,
        "fault": "timer,drop",
        "place": None,
        "outcome": "failed",
        "detail": "the process died",
        "reason": None,
        "exit_code": None,
        "virtual_ns": None,
    }


def test_one_sentence() -> None:
    assert outcome_line(ROWS) == "3 points: 1 failed, 2 survived."


def test_every_option_is_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweep.md").read_text()
    commands = getattr(typer.main.get_command(app.app), "commands")  # noqa: B009
    options = {option for each in commands["sweep"].params for option in each.opts}
    assert "--drop" in options
    assert not {each for each in options - {"--help"} if each[:2] == "--" and each not in page}
