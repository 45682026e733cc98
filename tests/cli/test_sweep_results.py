import csv
import io
import json
import shlex
from pathlib import Path

import pytest

from hypercall.cli.guest import RunOptions
from hypercall.cli.sweep_results import (
    COLUMNS,
    SweepRun,
    first_line,
    outcome_line,
    read_rows,
    row_text,
    write_table,
)
from hypercall.errors import InputError
from hypercall.faults.judgement import Outcome
from hypercall.faults.sweep import Row

ROWS = [
    Row(1, "call=X,[y]", "f[0]+0x1", Outcome.SURVIVED, "", "POWER_OFF", None, 5, 1, 1_500_000_000),
    Row(2, "timer,drop", None, Outcome.FAILED, "the process died"),
    Row(3, "timer=1,drop", None, Outcome.HUNG, "limit", "LIMIT", None, None, 2, 9, 2_500_000_000),
]


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    image = tmp_path / "my guest"
    image.write_bytes(b"\xf4")
    return RunOptions(image, append="a b", cpus=2, shuffle_vp_index=0)


def test_rows_for_people(options: RunOptions) -> None:
    stream = io.StringIO()
    run = SweepRun(options)
    write_table(stream, run, ROWS)
    text = stream.getvalue()
    assert "call=X,[y]" in text
    assert "f[0]+0x1" in text
    assert "1.500" in text
    assert "the process died" in text
    # A command stands on one line, however long, and only for what did harm.
    commands = [line for line in text.splitlines() if line.startswith("hypercall run")]
    assert commands == [f"{run.command(ROWS[2])}  # 3: hung"]
    quiet = io.StringIO()
    write_table(quiet, run, ROWS[:1])
    assert "meet" not in quiet.getvalue()


def test_the_command_has_what_differs_from_the_defaults(options: RunOptions) -> None:
    words = shlex.split(SweepRun(options).command(ROWS[2]))
    assert words == [
        *("hypercall", "run", str(options.image), "--append", "a b", "--cpus", "2"),
        *("--shuffle-vp-index", "0", "--limit", "2.5", "--inject", "timer=1,drop"),
    ]


def test_another_image_or_option_is_another_sweep(options: RunOptions, tmp_path: Path) -> None:
    name = SweepRun(options, 3.0).name
    assert SweepRun(options, 3.0).name == name
    assert SweepRun(options, 2.0).name != name
    moved = tmp_path / "elsewhere"
    moved.write_bytes(b"\xf4")
    assert SweepRun(RunOptions(moved, append="a b", cpus=2, shuffle_vp_index=0), 3.0).name == name
    moved.write_bytes(b"\xf5")
    assert SweepRun(RunOptions(moved, append="a b", cpus=2, shuffle_vp_index=0), 3.0).name != name


def test_rows_for_programs(options: RunOptions) -> None:
    run = SweepRun(options)
    record = json.loads(row_text(run, ROWS[1], "jsonl"))
    assert tuple(record) == COLUMNS
    assert record == {
        "number": 2,
        "fault": "timer,drop",
        "place": None,
        "outcome": "failed",
        "detail": "the process died",
        "reason": None,
        "exit_code": None,
        "at_ns": None,
        "struck": 0,
        "virtual_ns": None,
        "limit_ns": None,
        "sweep": run.name,
        "command": run.command(ROWS[1]),
    }
    text = first_line("csv") + "".join(row_text(run, row, "csv") for row in ROWS)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["fault"], row["outcome"]) for row in rows] == [
        (row.fault, row.outcome.value) for row in ROWS
    ]
    assert first_line("jsonl") == ""


def test_rows_are_read_back_but_for_those_that_failed(options: RunOptions, tmp_path: Path) -> None:
    run = SweepRun(options)
    path = tmp_path / "rows.jsonl"
    text = "".join(row_text(run, row, "jsonl") for row in ROWS)
    path.write_text(text + '{"number": 4, "fau')
    rows, whole = read_rows(path, run)
    assert rows == {row.fault: row for row in (ROWS[0], ROWS[2])}
    assert whole == len(text)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"number": 1', '"number": "1"', "line 1 of .* has no number"),
        ('"number": 1', '"number": true', "has no number"),
        ('"outcome": "survived"', '"outcome": "fine"', "is no row of a sweep"),
        ('"fault"', '"cause"', "is no row of a sweep"),
        ('"sweep": "', '"sweep": "0', "is of a sweep with another image or other options"),
        ("{", "[" * 100_000, "is no row of a sweep"),
        ("{", "\xff{", "is no row of a sweep"),
    ],
)
def test_what_is_no_row(
    options: RunOptions, tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    run = SweepRun(options)
    path = tmp_path / "rows.jsonl"
    path.write_text(row_text(run, ROWS[0], "jsonl").replace(old, new, 1), "latin-1")
    with pytest.raises(InputError, match=f"--resume: .*{complaint}"):
        read_rows(path, run)


def test_one_sentence() -> None:
    assert outcome_line(ROWS) == "3 points: 1 failed, 1 hung, 1 survived."
    assert outcome_line(ROWS[:1]) == "1 point: 1 survived."
    assert outcome_line([]) == "0 points."
