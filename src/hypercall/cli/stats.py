"""``hypercall stats``: count what a trace holds, of a run or of KVM."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.trace.counts import LineCounts, TraceCounts

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
            _check(file)
        return
    trace = open_trace(file, "auto")
    write_counts(sys.stdout, trace.counts())
    if check:
        _check(file)
    report_reading(trace)


def _check(path: Path) -> None:
    from hypercall.cli.findings import check_events, write_recorded
    from hypercall.cli.recorded import Recorded

    recorded = Recorded(path)
    write_recorded(sys.stdout, check_events(recorded, recorded.description), recorded.symbol)


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


def count_and_write(stream: BinaryIO, checked: Path | None = None) -> None:
    """Count JSON lines of a run, and show the counts.

    Args:
        stream: the lines.
        checked: the file, if the run is to be checked too.

    Raises:
        InputError: they are damaged; what could be read is shown.
    """
    from hypercall.cli.statistics import write_counts
    from hypercall.trace.counts import count_lines

    found = count_lines(stream)
    write_counts(sys.stdout, found.counts)
    if checked is not None:
        _check(checked)
    sys.stdout.flush()
    if found.damaged:
        raise InputError(damage_text(found))


def damage_text(found: LineCounts) -> str:
    """Return what is to be said of a trace that is damaged."""
    line, reason = found.damage[0]
    more = found.damaged - 1
    others = f"; and {more:,} more line{'s' if more != 1 else ''}" if more else ""
    return f"the trace is damaged at line {line}: {reason}{others}; what could be read was read"
