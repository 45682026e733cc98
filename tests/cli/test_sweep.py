import csv
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.guests.assembly import call, enable_hypercalls, library
from tests.guests.kit import assemble

from hypercall.cli import app

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
ONE_FLUSH = f"{call(0x10002, 0, 3)}\ntest ax, ax\njnz forever\n"
# A second of virtual time passes more quickly in long blocks.
WIDE_NOPS = "nop word ptr [rax + rax + 0x200]\n" * 400
# Whatever goes wrong, it never ends.
STUBBORN = f"""
    {enable_hypercalls()}
    {"".join(ONE_FLUSH for _ in range(12))}
    xor eax, eax
    ret
forever:
    {WIDE_NOPS}
    jmp forever
    {library()}
"""


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
    assert command(image, "--status", "TIMEOUT", "--check", "off") == 1
    shown = capsys.readouterr()
    lines = [line for line in shown.out.splitlines() if "TIMEOUT" in line]
    assert "call=FlushVirtualAddressSpace,nth=1,status=TIMEOUT" in lines[0]
    assert "corrupted" in lines[0]
    assert "debug exit with the value 120" in lines[0]
    assert "survived" in lines[1]
    assert "2 points: 1 corrupted, 1 survived." in shown.err
    # Only what did harm is to be met again.
    assert re.fullmatch(
        rf"hypercall run {re.escape(str(image))} --limit 1"
        r" --inject call=FlushVirtualAddressSpace,nth=1,status=TIMEOUT  # 1: corrupted",
        lines[2],
    )
    assert len(lines) == 3


def test_a_guest_that_survives(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--call", "HvCallSendSyntheticClusterIpi", "--format", "jsonl", "--max", 1)
    assert command(image, *arguments, "--memory", "16M") == 0
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line)
    assert row["fault"] == "call=SendSyntheticClusterIpi,nth=1,status=INVALID_PARAMETER"
    assert (row["number"], row["outcome"], row["reason"]) == (1, "complained", "DEBUG_EXIT")
    assert row["detail"].startswith("ignored-status in 0x")
    assert row["exit_code"] == 0
    # Only who is strict fails for a complaint.
    assert command(image, *arguments, "--memory", "16M", "--check", "strict") == 1


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
        (["--only", "packets"], "--only: there is no 'packets': give calls, interrupts, messages"),
        (["--only", "timers", "--call", "2"], "--call and --status say which calls to try"),
        (["--only", "messages"], "nothing that is asked for (messages) can go wrong"),
        (["--max", 0], "--max: 0 points are none"),
        (["--each", 0], "--each: 0 points are none"),
        (["--each", "most"], "--each: 'most' is no number: give 1 or more, or all"),
        (["--delay", "5"], "--delay 5 is no time"),
        (["--check", "maybe"], "--check: 'maybe' is neither a value of it"),
        (["--check", "off", "--check-stale"], "--check-stale is a check"),
        (["--factor", 0.5], "--factor: 0.5 is not a number from 1 on"),
        (["--factor", "nan"], "--factor: nan is not"),
        (["--limit", 0], "--limit: 0 is not"),
        (["--jobs", 0], "--jobs: 0 is not between"),
        (["--format", "xml"], "--format: there is no 'xml': give table, jsonl or csv"),
        (["-o", "rows.xml"], "-o: rows.xml says not what it is to be: end it in .jsonl or .csv"),
        (["-o", "/nowhere/rows.csv"], "-o: cannot write /nowhere/rows.csv: no such file"),
        (["--resume"], "--resume goes on with a file: name it with -o FILE.jsonl"),
        (["--resume", "-o", "rows.csv"], "--resume reads JSON lines"),
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


def test_the_image_is_not_overwritten(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    linked = image.with_name("rows.csv")
    linked.symlink_to(image)
    before = image.read_bytes()
    assert command(image, "-o", linked) == 2
    assert "is also the image" in capsys.readouterr().err
    assert image.read_bytes() == before


def test_each_command_meets_what_the_sweep_met(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(image, "--each", "2", "--seed", 5, "--memory", "16M", "--format", "jsonl") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"corrupted", "complained", "survived"} == {row["outcome"] for row in rows}
    for row in rows:
        words = shlex.split(row["command"])
        assert words[:2] == ["hypercall", "run"]
        assert words[-2:] == ["--inject", row["fault"]]
        with pytest.raises(SystemExit) as leaving:
            app.main(words[1:])
        assert bool(leaving.value.code) == (row["exit_code"] != 0)
        summary = capsys.readouterr().err
        assert f"{row['virtual_ns'] / 1e9:.3f} s of virtual time" in summary
        found = re.search(r"│ +(\d+) │ *\n└", summary)
        assert found is not None
        assert int(found[1]) == row["struck"]


def test_a_sweep_from_a_snapshot(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "one-call.hcsnap"
    with pytest.raises(SystemExit) as leaving:
        app.main(["run", str(image), "--stop-at", "call:1", "--save", str(saved)])
    assert leaving.value.code == 0
    assert command(saved, "--memory", "64M") == 2
    assert "--memory: a snapshot has its own machine" in capsys.readouterr().err
    # The first call is done, and what is left does not fail.
    assert command(saved, "--only", "calls", "--format", "jsonl", "--check", "off") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) >= 2
    assert all(row["fault"].startswith("call=SendSyntheticClusterIpi,") for row in rows)
    for row in rows:
        with pytest.raises(SystemExit):
            app.main(shlex.split(row["command"])[1:])
        assert f"{row['virtual_ns'] / 1e9:.3f} s of virtual time" in capsys.readouterr().err


def test_rows_for_other_programs(
    image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "rows.csv"
    arguments = (image, "--only", "calls", "--max", 3, "--format", "csv", "-o", target)
    assert command(*arguments) == 1
    text = capsys.readouterr().out
    assert target.read_text() == text
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["number"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["outcome"] == "corrupted"
    assert rows[0]["command"].endswith(f"--inject {rows[0]['fault']}")


def test_a_sweep_goes_on(image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "rows.jsonl"
    arguments = (image, "--only", "calls", "--format", "jsonl", "-o", target)
    assert command(*arguments) == 1
    whole = capsys.readouterr().out
    lines = whole.splitlines(keepends=True)
    assert target.read_text() == whole
    # Somebody was stopped in the middle of the third line.
    target.write_text("".join(lines[:2]) + lines[2][:20])
    assert command(*arguments, "--resume") == 1
    shown = capsys.readouterr()
    assert shown.out == "".join(lines[2:])
    assert f"{len(lines)} points:" in shown.err
    assert target.read_text() == whole
    assert command(*arguments, "--resume", "--factor", 2) == 2
    assert "is of a sweep with another image or other options" in capsys.readouterr().err
    assert target.read_text() == whole


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_is_interrupted_tells_what_is_done(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    image, target = tmp_path / "guest.bin", tmp_path / "rows.jsonl"
    image.write_bytes(assemble(STUBBORN))
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "hypercall.cli.app", "sweep", str(image), "--jobs", "2"),
            *("--only", "calls", "-o", str(target)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        deadline = time.monotonic() + 60
        while not (target.exists() and target.read_text().count("\n") >= 1):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        # All children are gone, or they would still hold the standard output.
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    rows: list[dict[str, Any]] = [json.loads(line) for line in target.read_text().splitlines()]
    assert rows[0]["outcome"] == "hung"
    said = re.search(
        r"^hypercall: interrupted with (\d+) of (\d+) points done; --resume -o \S+ goes on$",
        err,
        re.MULTILINE,
    )
    assert said is not None, err
    assert 1 <= len(rows) == int(said[1]) < int(said[2])
    assert rows[0]["fault"] in out
    assert "hung" in out
    assert "Traceback" not in err


def test_every_option_is_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sweep.md").read_text()
    commands = getattr(typer.main.get_command(app.app), "commands")  # noqa: B009
    options = {option for each in commands["sweep"].params for option in each.opts}
    assert "--only" in options
    assert not {each for each in options - {"--help"} if each[:2] == "--" and each not in page}
