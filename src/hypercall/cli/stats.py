"""``hypercall stats``: count what a trace holds, of a run or of KVM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    pass

_START = 64


def stats_command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="JSON lines of a run, a recording, or a trace of KVM."),
    ],
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Also tell where the guest breaks the rules of `hypercall checks`, which takes"
            " much longer than counting.",
        ),
    ] = False,
) -> None:
    """Count the calls of a trace by call and status, and its records by kind.

    FILE is what `hypercall run --trace-format jsonl` or `--record` wrote, or anything that
    `hypercall import` reads. A recorded run is run again. What of a damaged file can be read is
    counted, then the exit code is 2, and the standard error tells the place.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.counting import check_recorded, count_and_write
    from hypercall.cli.importing import open_trace, report_reading
    from hypercall.cli.inputs import check_input_file
    from hypercall.cli.recorded import Recorded
    from hypercall.cli.statistics import write_counts
    from hypercall.recording.recording import is_recording
    from hypercall.trace.counts import count_events

    check_input_file(file, "trace")
    with file.open("rb") as stream:
        if stream.peek(_START).lstrip().startswith(b"{"):
            count_and_write(stream, file if check else None)
            return
    if is_recording(file):
        recorded = Recorded(file)
        write_counts(sys.stdout, count_events(recorded, recorded.symbol))
        if check:
            check_recorded(file)
        else:
            sys.stdout.flush()
            recorded.write_notes(sys.stderr)
        return
    trace = open_trace(file, "auto")
    write_counts(sys.stdout, trace.counts())
    if check:
        check_recorded(file)
    report_reading(trace)
