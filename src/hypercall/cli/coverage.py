"""The coverage of a run as text for people, or as JSON."""

from __future__ import annotations

import io
import json
import textwrap
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypercall.coverage.coverage import Coverage

_WIDTH = 150
_SITES = 2


def coverage_text(
    coverage: Coverage, symbol: Callable[[int], str | None], *, as_json: bool = False
) -> str:
    """Return the coverage of a run, ended by a line feed.

    Args:
        coverage: the counts.
        symbol: the name of a guest address.
        as_json: return one JSON object in place of tables.
    """
    from hypercall.coverage.summary import coverage_summary

    summary = coverage_summary(coverage, symbol)
    if as_json:
        return json.dumps(summary, indent=1) + "\n"
    buffer = io.StringIO()
    console = Console(file=buffer, width=_WIDTH, highlight=False)
    _write_advice(console, summary["advice"])
    console.print(_enlightenment_table(summary["enlightenments"]))
    if summary["pages"]:
        pages = ", ".join(
            f"{name} {'once' if count == 1 else f'{count:,} times'}"
            for name, count in summary["pages"]
        )
        console.print(escape(f"Pages enabled: {pages}"))
    for title, key in (("Calls", "calls"), ("MSRs of the hypervisor", "msrs"), ("CPUID", "cpuid")):
        if summary[key]:
            console.print(_use_table(title, summary[key], with_writes=key == "msrs"))
    return buffer.getvalue()


def _write_advice(console: Console, advice: list[dict[str, str]]) -> None:
    if not advice:
        console.print("Nothing that a better guest would do was seen.")
    for each in advice:
        text = f"{each['about']}: {each['text']}"
        console.print(
            escape(textwrap.fill(text, _WIDTH - 2, initial_indent="- ", subsequent_indent="  "))
        )
    console.print()


def _enlightenment_table(rows: list[dict[str, Any]]) -> Table:
    # What is neither offered nor used says nothing about the guest.
    shown = [row for row in rows if row["verdict"] != "not offered"]
    used = sum(row["used"] > 0 for row in shown)
    offered = sum(row["offered"] is True for row in shown)
    table = Table(
        title=f"Enlightenments: {offered} offered, {used} used",
        title_justify="left",
        show_lines=False,
    )
    for heading in ("kind", "name", "read", "used", "verdict", "by"):
        right = heading in ("read", "used")
        table.add_column(
            heading,
            justify="right" if right else "left",
            overflow="fold",
            no_wrap=heading in ("kind", "read", "used", "verdict"),
        )
    for row in shown:
        by = ", ".join(f"{name} {count:,}" for name, count in row["by"][:3])
        if len(row["by"]) > 3:
            by += f" and {len(row['by']) - 3} more"
        cells = (
            row["word"],
            row["name"],
            f"{row['read']:,}",
            f"{row['used']:,}",
            row["verdict"],
            by,
        )
        table.add_row(*map(escape, cells))
    return table


def _use_table(title: str, rows: list[dict[str, Any]], *, with_writes: bool) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("name", overflow="fold")
    table.add_column("count", justify="right")
    if with_writes:
        table.add_column("written", justify="right")
    table.add_column("refused", justify="right")
    table.add_column("mostly from", overflow="fold")
    for row in rows:
        sites = ", ".join(f"{place} ({count:,})" for place, count in row["sites"][:_SITES])
        more = len(row["sites"]) - _SITES + row["more_sites"]
        if more > 0:
            sites += f" and {more} more"
        cells = [row["name"], f"{row['count']:,}"]
        if with_writes:
            cells.append(f"{row['writes']:,}")
        cells += [f"{row['refused']:,}" if row["refused"] else "", sites]
        table.add_row(*map(escape, cells))
    return table
