"""``hypercall import``: show a recorded trace, of KVM on a host or of a run."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from hypercall.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypercall.checks.recorded import RecordedChecks
    from hypercall.trace.kvm.reader import KvmTrace


def import_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE|-", help="The trace; - is the standard input.")
    ],
    format: Annotated[
        str,
        typer.Option(
            metavar="auto|text|trace.dat|jsonl",
            help="What the file is: text of tracefs, trace-cmd report or perf script, the file of"
            " trace-cmd, or JSON lines of a run.",
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
    """Show the hypercalls in a trace that KVM recorded on a host, or in JSON lines of a run.

    Without -o or --statistics, each call is a line in the manner of strace. What of a damaged file
    can be read is shown, then the exit code is 2, and the standard error tells the place.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.trace.kvm.reader import FORMATS

    formats = (*FORMATS, "jsonl")
    if format not in formats:
        raise InputError(f"--format: {format!r} is none of {', '.join(formats)}")
    if statistics and output is not None:
        raise InputError("--statistics and --output: choose one of the two")
    if format == "jsonl" or (format == "auto" and _begins_like_json(file)):
        if pid or output is not None:
            option = "--pid" if pid else "--output"
            raise InputError(f"{option} is for traces of KVM: {file} is JSON lines of a run")
        if check:
            raise InputError("--check is for traces of KVM: give JSON lines to `hypercall checks`")
        if statistics:
            from hypercall.cli.counting import count_and_write

            with _opened(file) as stream:
                count_and_write(stream)
            return
        _show_lines(file, "-")
        return
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
        if checks is None:
            write_parts(trace.text(pid), "-", at_once=not trace.seekable)
        else:
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


def show_trace(file: Path, target: str) -> None:
    """Write a trace of JSON lines or of KVM as text.

    Args:
        file: the trace.
        target: where to, a path or ``-``.

    Raises:
        InputError: it cannot be read, or is damaged; what could be read is written.
        OSError: the target cannot be written.
    """
    if _begins_like_json(file):
        _show_lines(file, target)
        return
    trace = open_trace(file, "auto")
    write_parts(trace.text(), target, at_once=False)
    report_reading(trace)


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


def _write_text(trace: KvmTrace, pids: list[int] | None, checks: RecordedChecks) -> None:
    from hypercall.cli.outputs import open_output
    from hypercall.trace.strace import StraceWriter

    output = open_output("-", "output", "--output", lambda: None)
    writer = StraceWriter(output.write_text, lambda address: None)
    for event in trace.events(pids):
        writer.write(event)
        checks.feed(event)
        if not trace.seekable:
            # A pipe may be a trace that is being made, and somebody watches.
            output.flush()
    output.close()
    if output.failure is not None:
        raise output.failure


def _begins_like_json(file: Path) -> bool:
    """Tell whether a file, or the standard input, begins as JSON lines do."""
    from hypercall.cli.inputs import begins_like_json, check_input_file

    if str(file) == "-":
        # What has come; the first line of a pipe comes as a whole.
        stream = sys.stdin.buffer
        return isinstance(stream, io.BufferedReader) and stream.peek(1).lstrip().startswith(b"{")
    check_input_file(file, "trace")
    return begins_like_json(file)


def _opened(file: Path) -> BinaryIO:
    from hypercall.cli.inputs import check_input_file

    if str(file) == "-":
        return sys.stdin.buffer
    check_input_file(file, "trace")
    return file.open("rb")


def _show_lines(file: Path, target: str) -> None:
    from hypercall.trace.texts import LinesToText

    with _opened(file) as stream:
        lines = LinesToText(stream)
        write_parts(lines.text(), target, at_once=not stream.seekable())
    if lines.reader.damages:
        more = lines.reader.damage_count - 1
        others = f"; and {more:,} more place{'s' if more != 1 else ''}" if more else ""
        raise InputError(
            f"the trace is damaged at {lines.reader.damages[0]}{others}; what could be read was"
            " read"
        )


def write_parts(parts: Iterable[bytes], target: str, *, at_once: bool) -> None:
    """Write text, part by part.

    Args:
        parts: the text in UTF-8.
        target: a path, or ``-``.
        at_once: whether each part is passed on when it comes, since somebody may watch.

    Raises:
        InputError: the target cannot be opened.
        OSError: it cannot be written.
    """
    from hypercall.cli.outputs import open_output

    output = open_output(target, "output", "--output", lambda: None)
    try:
        for part in parts:
            output.write(part)
            if at_once:
                output.flush()
            if output.failure is not None:
                break
    finally:
        output.close()
    if output.failure is not None:
        raise output.failure


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
        for event in trace.events(pids):
            writer.write(event)
            if checks is not None:
                checks.feed(event)
    finally:
        output.close()
    if output.failure is not None:
        raise output.failure
