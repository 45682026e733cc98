"""``hypercall export``: a recorded run in a format for other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.cli.recorded import Recorded

_SUFFIXES = (".parquet", ".pftrace", ".txt")
_ENDINGS = ".parquet, .pftrace or .txt"


def export_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="What `hypercall run` wrote by --record or --trace-format jsonl, or KVM's trace.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="The file; its name says what it will be: .parquet, a table for DuckDB and the"
            " like, .pftrace, for ui.perfetto.dev, or .txt, lines of text.",
        ),
    ],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Which events the table has: hypercall, msr, cpuid, console, interrupt, message,"
            " halt, vtl, machine or finding.",
        ),
    ] = "hypercall",
) -> None:
    """Write a recorded run as a table (Parquet), for Perfetto or as text.

    Of a damaged recording, what could be read is written; then the exit code is 2.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.importing import show_trace
    from hypercall.cli.inputs import check_output_file
    from hypercall.cli.recorded import Recorded
    from hypercall.recording.recording import is_recording

    if output.suffix not in _SUFFIXES:
        raise InputError(f"--output: {output} has no known ending: give {_ENDINGS}")
    if output.suffix == ".txt" and not is_recording(run):
        check_output_file(output, "--output", [("trace", run)])
        show_trace(run, str(output))
        return
    recorded = Recorded(run)
    check_output_file(output, "--output", [("trace", run)])
    if output.suffix == ".parquet":
        _write_table(recorded, output, kind)
    elif output.suffix == ".txt":
        _write_text(recorded, output)
    else:
        _write_perfetto(recorded, output)
    recorded.write_notes(sys.stderr)
    recorded.raise_damage()


def _write_table(recorded: Recorded, output: Path, kind: str) -> None:
    from hypercall.trace.kinds import EVENT_NAMES
    from hypercall.trace.parquet import ParquetWriter

    kinds = {name: each for each, name in EVENT_NAMES.items()}
    if kind not in kinds:
        raise InputError(f"--kind: there is no {kind!r}: give one of {', '.join(kinds)}")
    with ParquetWriter(output, kinds[kind], recorded.symbol) as writer:
        for event in recorded:
            writer.write(event)
    sys.stderr.write(f"{writer.rows:,} rows\n")


def _write_text(recorded: Recorded, output: Path) -> None:
    from hypercall.cli.outputs import open_output
    from hypercall.trace.strace import StraceWriter

    file = open_output(str(output), "output", "--output", lambda: None)
    writer = StraceWriter(file.write_text, recorded.symbol)
    for event in recorded:
        writer.write(event)
    file.close()
    if file.failure is not None:
        raise file.failure


def _write_perfetto(recorded: Recorded, output: Path) -> None:
    from hypercall.cli.outputs import open_output
    from hypercall.trace.perfetto import PerfettoWriter

    file = open_output(str(output), "output", "--output", lambda: None)
    writer = PerfettoWriter(file.write, recorded.symbol, recorded.description)
    writer.begin()
    for event in recorded:
        writer.write(event)
    file.close()
    if file.failure is not None:
        raise file.failure
