"""The tables of a trace: its calls, and its records."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from hypercall.cli.summary import WIDE, WIDTH_WITHOUT_TERMINAL, call_table

if TYPE_CHECKING:
    from hypercall.trace.counts import TraceCounts


def write_counts(stream: IO[str], counts: TraceCounts) -> None:
    """Write what a trace holds.

    Args:
        stream: where to; coloured if it is a terminal.
        counts: the numbers.
    """
    console = Console(
        file=stream, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False
    )
    calls = counts.calls.by_call()
    if calls:
        wide = console.width >= WIDE
        console.print(call_table(calls, counts.calls.total, counts.symbols.get, wide))
    else:
        console.print("The trace has no hypercalls.")
    if counts.records or counts.others:
        console.print(_record_table(counts))
    console.print(f"{counts.span_ns / 1e9:.6f} s from the first record to the last")


def _record_table(counts: TraceCounts) -> Table:
    total = sum(counts.records.values()) + counts.others
    table = Table(title=f"{total:,} records", title_justify="left")
    table.add_column("kind")
    table.add_column("count", justify="right")
    ordered = sorted(counts.records.items(), key=lambda item: (-item[1], item[0]))
    for name, count in [*ordered, *([("others", counts.others)] if counts.others else [])]:
        table.add_row(name, f"{count:,}")
    return table
