"""The rows of a sweep: a table for people, JSON lines and CSV for programs, and lines read back."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.cli.guest import RunOptions
    from hypercall.faults.sweep import Row

FORMATS = ("table", "jsonl", "csv")
"""What ``--format`` takes."""

_WIDTH_WITHOUT_TERMINAL = 180
_LARGEST_FILE = 1 << 26
_COLOURS = {
    "panicked": "red",
    "hung": "red",
    "corrupted": "red",
    "complained": "yellow",
    "failed": "magenta",
}


class SweepRun:
    """The run that a sweep is of: what tells it from others, and how to meet a row of it again.

    Args:
        options: those of the machine and its guest.
        more: what else decides what becomes of a point.

    Attributes:
        name: 16 digits; two sweeps of the same have the same.
    """

    def __init__(self, options: RunOptions, *more: object) -> None:
        self._options = options
        contents = [
            None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (options.image, options.initrd)
        ]
        machine = replace(options, image=None, initrd=None)
        text = repr((contents, machine, more))
        self.name = hashlib.sha256(text.encode()).hexdigest()[:16]

    def command(self, row: Row) -> str:
        """Return the command, for a shell, that meets a row again."""
        options = self._options
        words = ["hypercall", "run", str(options.image)]
        for field in fields(options):
            value = getattr(options, field.name)
            if field.name in _PASSED_ON and value != field.default:
                words += [f"--{field.name.replace('_', '-')}", str(value)]
        if options.check_stale:
            words.append("--check-stale")
        if row.limit_ns is not None:
            words += ["--limit", f"{row.limit_ns / 1e9:.9f}".rstrip("0").rstrip(".")]
        return shlex.join([*words, "--inject", row.fault])

    def record(self, row: Row) -> dict[str, Any]:
        """Return a row as programs get it: its attributes, the sweep, and the command."""
        return {
            **asdict(row),
            "outcome": row.outcome.value,
            "sweep": self.name,
            "command": self.command(row),
        }


_PASSED_ON = frozenset(
    {
        *("initrd", "append", "cpus", "memory", "seed"),
        *("shuffle_vp_index", "like", "privileges", "entry"),
    }
)
COLUMNS = (
    *("number", "fault", "place", "outcome", "detail", "reason", "exit_code", "at_ns", "struck"),
    *("virtual_ns", "limit_ns", "sweep", "command"),
)
"""The columns of a CSV file, and the names in an object of JSON."""


def row_text(run: SweepRun, row: Row, form: str) -> str:
    """Return a row as a line of ``jsonl`` or ``csv``."""
    record = run.record(row)
    if form == "jsonl":
        return json.dumps(record) + "\n"
    text = io.StringIO()
    csv.DictWriter(text, COLUMNS, lineterminator="\n").writerow(record)
    return text.getvalue()


def first_line(form: str) -> str:
    """Return what stands before the rows."""
    return ",".join(COLUMNS) + "\n" if form == "csv" else ""


def read_rows(path: Path, run: SweepRun) -> tuple[dict[str, Row], int]:
    """Read the rows that an earlier sweep has written as JSON lines.

    Returns:
        the rows by the texts of their faults, without those of runs that failed; and how many
        bytes of the file are whole lines.

    Raises:
        InputError: it has something else, or rows of another sweep.
    """
    data = path.read_bytes()
    if len(data) > _LARGEST_FILE:
        raise InputError(f"--resume: {path} is larger than any sweep's")
    # Who was stopped in the middle of a line has the rest to do.
    whole = data.rfind(b"\n") + 1
    rows = {}
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        row = _read_row(line, f"--resume: line {number} of {path}", run)
        if row is not None:
            rows[row.fault] = row
    return rows, whole


def _read_row(line: bytes, where: str, run: SweepRun) -> Row | None:
    from hypercall.faults.judgement import Outcome
    from hypercall.faults.sweep import Row

    try:
        record = json.loads(line)
        outcome = Outcome(record["outcome"])
        values = {name: record[name] for name in _TYPES}
        name = record["sweep"]
    except (ValueError, TypeError, LookupError, RecursionError):
        raise InputError(f"{where} is no row of a sweep: name another file") from None
    for key, kinds in _TYPES.items():
        if type(values[key]) not in kinds:
            raise InputError(f"{where} has no {key}: name another file")
    if name != run.name:
        raise InputError(
            f"{where} is of a sweep with another image or other options: name another file, or"
            " leave out --resume"
        )
    return None if outcome is Outcome.FAILED else Row(outcome=outcome, **values)


_NUMBER, _OPTIONAL = (int,), (int, type(None))
_TYPES: dict[str, tuple[type, ...]] = {
    "number": _NUMBER,
    "fault": (str,),
    "place": (str, type(None)),
    "detail": (str,),
    "reason": (str, type(None)),
    "exit_code": _OPTIONAL,
    "at_ns": _OPTIONAL,
    "struck": _NUMBER,
    "virtual_ns": _OPTIONAL,
    "limit_ns": _OPTIONAL,
}


def write_table(stream: IO[str], run: SweepRun, rows: Sequence[Row]) -> None:
    """Write the rows for people, coloured if they look; and how to meet those that did harm."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from hypercall.faults.judgement import HARM

    console = Console(
        file=stream, width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False
    )
    table = Table()
    table.add_column("", justify="right")
    table.add_column("fault", overflow="fold")
    table.add_column("from", overflow="fold")
    table.add_column("at s", justify="right")
    table.add_column("outcome")
    table.add_column("end s", justify="right")
    table.add_column("detail", overflow="fold")
    for row in rows:
        table.add_row(
            str(row.number),
            escape(row.fault),
            escape(row.place or ""),
            _seconds(row.at_ns),
            row.outcome.value,
            _seconds(row.virtual_ns),
            escape(row.detail),
            style=_COLOURS.get(row.outcome.value),
        )
    console.print(table)
    harmful = [row for row in rows if row.outcome in HARM]
    if harmful:
        console.print("\nTo meet them again:")
    for row in harmful:
        # As it is, so that it can be copied whole.
        stream.write(f"{run.command(row)}  # {row.number}: {row.outcome.value}\n")


def _seconds(nanoseconds: int | None) -> str:
    return "" if nanoseconds is None else f"{nanoseconds / 1e9:.3f}"


def outcome_line(rows: Sequence[Row]) -> str:
    """Return one sentence on how many points had which outcome."""
    counts = Counter(row.outcome.value for row in rows)
    points = f"{len(rows)} point{'s' if len(rows) != 1 else ''}"
    parts = [f"{counts[name]} {name}" for name in sorted(counts)]
    return f"{points}: {', '.join(parts)}." if rows else f"{points}."
