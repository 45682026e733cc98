"""``hypercall stats``: count what a trace holds, of a run or of KVM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.trace.counts import LineCounts

_START = 64


def stats_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="JSON lines of a run, or a trace of KVM.")
    ],
) -> None:
    """Count the calls of a trace by call and status, and its records by kind.

    FILE is what `hypercall run --trace-format jsonl` wrote, or anything that `hypercall import`
    reads. What of a damaged file can be read is counted, then the exit code is 2, and the standard
    error tells the place.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.importing import open_trace, report_reading
    from hypercall.cli.inputs import check_input_file
    from hypercall.cli.statistics import write_counts

    check_input_file(file, "trace")
    with file.open("rb") as stream:
        if stream.peek(_START).lstrip().startswith(b"{"):
            _count_lines(stream)
            return
    trace = open_trace(file, "auto")
    write_counts(sys.stdout, trace.counts())
    report_reading(trace)


def _count_lines(stream: BinaryIO) -> None:
    from hypercall.cli.statistics import write_counts
    from hypercall.trace.counts import count_lines

    found = count_lines(stream)
    write_counts(sys.stdout, found.counts)
    sys.stdout.flush()
    if found.damaged:
        raise InputError(damage_text(found))


def damage_text(found: LineCounts) -> str:
    """Return what is to be said of a trace that is damaged."""
    line, reason = found.damage[0]
    more = found.damaged - 1
    others = f"; and {more:,} more line{'s' if more != 1 else ''}" if more else ""
    return f"the trace is damaged at line {line}: {reason}{others}; what could be read was read"
