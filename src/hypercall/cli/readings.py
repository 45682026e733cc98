"""``hypercall readings``: where the public sources disagree, and whose answer each set takes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hypercall.tlfs.readings import Reading

_WIDTH_WITHOUT_TERMINAL = 140


def readings_command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The reading to describe, as page_crossing."),
    ] = None,
) -> None:
    """List the readings: each question on which sources disagree, and the four answers to it.

    The sets are hyperv (the default), kvm, xen and openvmm; --like of the other commands takes one.
    """
    from rich.console import Console

    from hypercall.tlfs.readings import READINGS

    found = list_readings(READINGS) if name is None else describe_reading(find_reading(name))
    stream = sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=stream, width=width, highlight=False)
    for renderable in found:
        console.print(renderable)


def find_reading(name: str) -> Reading:
    """Return the reading of a name, in capitals or not, with ``-`` or ``_``.

    Raises:
        InputError: there is none of that name.
    """
    from hypercall.tlfs.readings import READINGS

    wanted = name.lower().replace("-", "_")
    for reading in READINGS:
        if reading.name == wanted:
            return reading
    near = [reading.name for reading in READINGS if wanted in reading.name]
    hint = f"; did you mean {', '.join(near)}?" if wanted and near else ""
    raise InputError(f"no reading is named {name!r}: `hypercall readings` lists all{hint}")


def list_readings(readings: tuple[Reading, ...]) -> list[RenderableType]:
    """Return the table of all readings."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("reading", no_wrap=True)
    table.add_column("question", ratio=3)
    table.add_column("answers", ratio=4)
    table.add_column("sources", ratio=3)
    for reading in readings:
        question, sources = escape(reading.question), escape(reading.sources)
        table.add_row(reading.name, question, _answers(reading), sources)
        table.add_row()
    return [table, f"{len(readings)} readings"]


def describe_reading(reading: Reading) -> list[RenderableType]:
    """Return the description of one reading."""
    from rich.markup import escape

    return [
        f"[bold]{reading.name}[/bold]",
        escape(reading.question),
        _answers(reading),
        f"Sources: {escape(reading.sources)}",
    ]


def _answers(reading: Reading) -> RenderableType:
    from rich.markup import escape
    from rich.table import Table

    from hypercall.tlfs.readings import SET_NAMES

    grid = Table.grid(padding=(0, 2))
    for name in SET_NAMES:
        grid.add_row(name, escape(reading.answer(name)))
    return grid
