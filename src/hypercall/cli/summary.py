"""The tables that tell at the end of a run what happened."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hypercall.machine.processor_state import ProcessorState
from hypercall.machine.processor_text import processor_text
from hypercall.machine.result import REASON_TEXTS, RunResult, StopReason
from hypercall.trace.last_seen import LastSeen
from hypercall.trace.statistics import CallCount, Statistics

# Code is counted in bytes, because counting instructions would cost time. Kernel code has about
# four bytes an instruction.
_BYTES_PER_INSTRUCTION = 4
UNFINISHED = (
    StopReason.LIMIT,
    StopReason.INTERRUPTED,
    StopReason.DEADLOCK,
    StopReason.TRIPLE_FAULT,
)
"""The ends of a run that make one ask what the virtual processors were at."""
WIDTH_WITHOUT_TERMINAL = 120
"""Columns, where nobody says how many there are."""
WIDE = 110
"""Below this a table with all columns would cut the names of the calls."""


def write_summary(
    stream: IO[str],
    result: RunResult,
    statistics: Statistics,
    symbol: Callable[[int], str | None],
) -> None:
    """Write how a run ended, its hypercalls, its exits and its times.

    Args:
        stream: where to; coloured if it is a terminal.
        result: what the machine returned.
        statistics: the hypercalls counted.
        symbol: the name of a guest address.
    """
    console = Console(
        file=stream, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False
    )
    console.print()
    calls = statistics.by_call()
    if calls:
        console.print(call_table(calls, statistics.total, symbol, console.width >= WIDE))
    else:
        console.print("The guest made no hypercalls.")
    if result.exits:
        console.print(_exit_table(result.exits))
    console.print(escape(outcome_line(result)), soft_wrap=True)
    console.print(escape(time_line(result)), soft_wrap=True)


def write_processors(
    stream: IO[str],
    states: Sequence[ProcessorState],
    last: LastSeen,
    symbol: Callable[[int], str | None],
) -> None:
    """Write where the virtual processors are.

    Args:
        stream: where to.
        states: what they do.
        last: the last events of each.
        symbol: the name of a guest address.
    """
    text = textwrap.indent(processor_text(states, last, symbol), "  ")
    stream.write(f"\nWhere the virtual processors are\n{text}")


def outcome_line(result: RunResult) -> str:
    """Return one sentence on why the run stopped."""
    text = REASON_TEXTS[result.reason]
    if result.reason is StopReason.DEBUG_EXIT and result.exit_code is not None:
        text += f" with the value {result.exit_code}"
    if result.detail:
        text += f": {' '.join(result.detail.split())}"
    return f"{text[:1].upper()}{text[1:]}."


def time_line(result: RunResult) -> str:
    """Return one line on virtual time, host time and speed."""
    seconds = (result.virtual_ns - result.began_ns) / 1e9
    text = f"{seconds:.3f} s of virtual time in {result.host_seconds:.2f} s"
    if result.began_ns:
        text = f"From {result.began_ns / 1e9:.3f} s: {text}"
    executed = (result.executed - result.executed_before) / 1e6
    text += f", {executed:,.1f} MB of guest code executed"
    if result.host_seconds > 0:
        speed = executed / result.host_seconds
        text += (
            f" ({speed:,.0f} MB/s, about {speed / _BYTES_PER_INSTRUCTION:,.0f} MIPS"
            f" at {_BYTES_PER_INSTRUCTION} bytes an instruction)"
        )
    return text


def call_table(
    calls: list[CallCount], total: int, symbol: Callable[[int], str | None], wide: bool
) -> Table:
    """Return the table of the calls by call and outcome.

    Args:
        calls: a row each.
        total: how many calls, for the title.
        symbol: the name of a guest address, or None.
        wide: whether there is room for all columns.
    """
    cells: dict[str, Callable[[CallCount], str]] = {
        "call": lambda counted: escape(counted.name),
        "status": lambda counted: escape(counted.outcome),
        "count": lambda counted: f"{counted.count:,}",
    }
    if wide and any(counted.reps for counted in calls):
        cells["reps"] = lambda counted: f"{counted.reps:,}" if counted.reps else ""
    if wide:
        cells["first s"] = lambda counted: f"{counted.first_ns / 1e9:.3f}"
        cells["last s"] = lambda counted: f"{counted.last_ns / 1e9:.3f}"
    if wide and any(counted.total_ns for counted in calls):
        # Most calls take no virtual time at all.
        cells["mean µs"] = lambda counted: f"{counted.mean_ns / 1e3:.2f}"
    cells["mostly from"] = lambda counted: escape(_most_frequent_site(counted, symbol))
    table = Table(title=f"{total:,} hypercall{'s' if total != 1 else ''}", title_justify="left")
    for heading in cells:
        table.add_column(
            heading,
            justify="left" if heading in ("call", "status", "mostly from") else "right",
            no_wrap=heading != "mostly from",
            overflow="fold",
        )
    for counted in calls:
        table.add_row(*(cell(counted) for cell in cells.values()))
    return table


def _most_frequent_site(counted: CallCount, symbol: Callable[[int], str | None]) -> str:
    # The lower address wins a tie, so that the same run gives the same table.
    known = [(count, -site) for site, count in counted.call_sites.items() if site is not None]
    if not known:
        return ""
    address = -max(known)[1]
    return symbol(address) or f"{address:#x}"


def _exit_table(exits: Mapping[str, int]) -> Table:
    table = Table(title=f"{sum(exits.values()):,} exits", title_justify="left")
    table.add_column("kind")
    table.add_column("count", justify="right")
    for kind, count in sorted(exits.items(), key=lambda item: (-item[1], item[0])):
        if count:
            table.add_row(escape(kind), f"{count:,}")
    return table
