"""``hypercall stats``: count what a trace holds, of a run or of KVM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hypercall.trace.counts import TraceCounts

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
    from hypercall.cli.statistics import write_counts
    from hypercall.recording.recording import is_recording

    check_input_file(file, "trace")
    with file.open("rb") as stream:
        if stream.peek(_START).lstrip().startswith(b"{"):
            count_and_write(stream, file if check else None)
            return
    if is_recording(file):
        write_counts(sys.stdout, _count_run(file))
        if check:
            check_recorded(file)
        return
    trace = open_trace(file, "auto")
    write_counts(sys.stdout, trace.counts())
    if check:
        check_recorded(file)
    report_reading(trace)


def _count_run(path: Path) -> TraceCounts:
    """Count what happens in a recorded run, which is run again."""
    from hypercall.cli.recorded import Recorded
    from hypercall.trace.counts import TraceCounts
    from hypercall.trace.hub import TraceHub
    from hypercall.trace.kinds import EVENT_NAMES
    from hypercall.trace.statistics import Statistics

    recorded = Recorded(path)
    hub = TraceHub()
    counts = TraceCounts(Statistics())
    counts.calls.attach(hub)
    first: int | None = None
    for event in recorded:
        hub.emit(event)
        name = EVENT_NAMES[type(event)]
        counts.records[name] = counts.records.get(name, 0) + 1
        if first is None:
            first = event.position.time_ns
        counts.span_ns = event.position.time_ns - first
    for counted in counts.calls.by_call():
        for site in counted.call_sites:
            symbol = None if site is None else recorded.symbol(site)
            if site is not None and symbol is not None:
                counts.symbols[site] = symbol
    return counts
