"""``hypercall report``: one HTML file that shows a recorded run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hypercall.errors import InputError


def report_command(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="What `hypercall run` wrote by --record or --trace-format jsonl, or KVM's trace.",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|-",
            help="Write the page here; - is the standard output.",
        ),
    ],
    events: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many events the page holds one by one; 20000 by default. Counts, times and"
            " matrices are of all.",
        ),
    ] = None,
) -> None:
    """Make one HTML file that shows a recorded run, to be opened in any browser, without network.

    It has a time line, the calls with their times, who interrupts and flushes whom, findings, the
    events with filter and search, and the console. Of a damaged recording it shows what could be
    read; then the exit code is 2.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.inputs import check_output_file
    from hypercall.cli.outputs import open_output
    from hypercall.cli.recorded import Recorded
    from hypercall.report.gathering import DEFAULT_ROWS, MOST_ROWS, Gathering
    from hypercall.report.page import render_page

    if events is not None and not 0 <= events <= MOST_ROWS:
        raise InputError(f"--events: {events} is not between 0 and {MOST_ROWS}")
    recorded = Recorded(run)
    if output != "-":
        check_output_file(Path(output), "--output", [("trace", run)])
    gathering = Gathering(
        recorded.description, recorded.symbol, DEFAULT_ROWS if events is None else events
    )
    for event in recorded:
        gathering.add(event)
    notes = list(recorded.notes)
    if recorded.damage is not None:
        notes.insert(0, f"The recording {recorded.damage}.")
    page = render_page(gathering.as_dictionary(notes))
    file = open_output(output, "output", "--output", lambda: None)
    file.write_text(page)
    file.close()
    if file.failure is not None:
        raise file.failure
    recorded.raise_damage()
