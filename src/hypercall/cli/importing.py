"""``hypercall import``: read a trace of KVM that was recorded on a host."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercall.checks.recorded import RecordedChecks
    from hypercall.trace.events import Event
    from hypercall.trace.kvm.reader import KvmTrace


def import_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE|-", help="The trace; - is the standard input.")
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="auto|text|trace.dat",
            help="What the file is: text of tracefs, trace-cmd report or perf script, or the file"
            " of trace-cmd.",
        ),
    ] = "auto",
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Only count; millions of records a second.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="Write JSON lines, as `hypercall run --trace-format jsonl` does; - is the standard"
            " output.",
        ),
    ] = None,
    pid: Annotated[
        list[int] | None,
        typer.Option(metavar="N", help="Heed this thread only; give it several times for several."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Tell at the end where the guest breaks the rules of `hypercall checks`, and which"
            " of them the trace says nothing of.",
        ),
    ] = False,
) -> None:
    """Show the hypercalls in a trace that KVM recorded on a host.

    Without -o or --statistics, each call is a line in the manner of strace. What of a damaged file
    can be read is shown, then the exit code is 2, and the standard error tells the place.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.trace.kvm.reader import FORMATS

    if format not in FORMATS:
        raise InputError(f"--format: {format!r} is none of {', '.join(FORMATS)}")
    if statistics and output is not None:
        raise InputError("--statistics and --output: choose one of the two")
    trace = open_trace(file, format)
    if statistics and check and not trace.seekable:
        raise InputError("--statistics with --check reads the trace twice: give a file, not a pipe")
    checks = _checks() if check else None
    if statistics:
        from hypercall.cli.statistics import write_counts

        write_counts(sys.stdout, trace.counts(pid))
        if checks is not None:
            for event in trace.events(pid):
                checks.feed(event)
    elif output is None:
        _write_text(trace, pid, checks)
    else:
        _write_lines(trace, pid, output, file, checks)
    if checks is not None:
        from hypercall.cli.findings import write_recorded

        checks.finish()
        write_recorded(sys.stderr if output == "-" else sys.stdout, checks, lambda address: None)
    report_reading(trace)


def _checks() -> RecordedChecks:
    from hypercall.checks.recorded import RecordedChecks
    from hypercall.trace.description import RunDescription

    return RecordedChecks(RunDescription(source="kvm"))


def open_trace(file: Path, format: str) -> KvmTrace:
    """Look at a trace.

    Args:
        file: a path, or ``-``.
        format: a name of the formats.

    Raises:
        InputError: it cannot be read, or is no trace.
    """
    from hypercall.cli.inputs import check_input_file
    from hypercall.trace.kvm.reader import KvmTrace, open_kvm_trace

    if str(file) == "-":
        return KvmTrace(sys.stdin.buffer, "the standard input", format)
    check_input_file(file, "trace")
    return open_kvm_trace(file, format)


def report_reading(trace: KvmTrace) -> None:
    """Write notes of a trace that was read to the standard error.

    Raises:
        InputError: it is damaged.
    """
    sys.stdout.flush()
    for note in trace.notes:
        sys.stderr.write(f"hypercall: note: {note}\n")
    if trace.damaged:
        first = trace.damage[0]
        more = trace.damaged - 1
        others = f"; and {more:,} more place{'s' if more != 1 else ''}" if more else ""
        raise InputError(
            f"the trace is damaged at {first.place}: {first.what}{others}; what could be read was"
            " read"
        )


def _write_text(trace: KvmTrace, pids: list[int] | None, checks: RecordedChecks | None) -> None:
    from hypercall.trace.strace import StraceWriter

    writer = StraceWriter(sys.stdout.write, lambda address: None)
    _write(trace, pids, writer.write, checks, sys.stdout.flush if not trace.seekable else None)


def _write_lines(
    trace: KvmTrace,
    pids: list[int] | None,
    target: str,
    file: Path,
    checks: RecordedChecks | None,
) -> None:
    from hypercall.cli.inputs import check_output_file
    from hypercall.cli.outputs import open_output
    from hypercall.trace.description import RunDescription
    from hypercall.trace.jsonl import JsonLinesWriter

    if target != "-":
        check_output_file(Path(target), "--output", [("trace", file)])
    output = open_output(target, "output", "--output", lambda: None)
    try:
        description = RunDescription(source="kvm")
        writer = JsonLinesWriter(output.write_text, lambda address: None, description)
        writer.begin()
        _write(trace, pids, writer.write, checks, None)
    finally:
        output.close()
    if output.failure is not None:
        raise output.failure


def _write(
    trace: KvmTrace,
    pids: list[int] | None,
    write: Callable[[Event], None],
    checks: RecordedChecks | None,
    after: Callable[[], None] | None,
) -> None:
    for event in trace.events(pids):
        write(event)
        if checks is not None:
            checks.feed(event)
        if after is not None:
            # A pipe may be a trace that is being made, and somebody watches.
            after()
