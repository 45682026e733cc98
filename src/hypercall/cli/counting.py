"""Counts JSON lines of a run, and checks a recorded run, for the commands that show the numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.trace.counts import LineCounts


def check_recorded(path: Path) -> None:
    """Check a recorded run by the rules, and show what was found."""
    from hypercall.cli.findings import check_events, write_recorded
    from hypercall.cli.recorded import Recorded

    recorded = Recorded(path)
    write_recorded(sys.stdout, check_events(recorded, recorded.description), recorded.symbol)
    recorded.write_notes(sys.stderr)


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
        check_recorded(checked)
    sys.stdout.flush()
    if found.damaged:
        raise InputError(damage_text(found))


def damage_text(found: LineCounts) -> str:
    """Return what is to be said of a trace that is damaged."""
    line, reason = found.damage[0]
    more = found.damaged - 1
    others = f"; and {more:,} more line{'s' if more != 1 else ''}" if more else ""
    return f"the trace is damaged at line {line}: {reason}{others}; what could be read was read"
