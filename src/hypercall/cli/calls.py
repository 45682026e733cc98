"""``hypercall calls``: the reference of the calls, from their declarations."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hypercall.tlfs.declaration import CallDeclaration

_WIDTH_WITHOUT_TERMINAL = 120


def calls_command(
    call: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|CODE]",
            help="The call to describe, as HvCallPostMessage, HvPostMessage, POST_MESSAGE or 0x5C.",
        ),
    ] = None,
) -> None:
    """List the hypercalls, or describe one: layouts, privileges, statuses, what is known.

    Calls that are not implemented yet answer INVALID_HYPERCALL_CODE.
    """
    from rich.console import Console

    from hypercall.calls import HANDLERS
    from hypercall.tlfs.calls import DECLARATIONS

    if call is None:
        found = list_calls(DECLARATIONS, HANDLERS)
    else:
        declaration = DECLARATIONS.find(call)
        found = describe_call(declaration, declaration.code in HANDLERS)
    stream = sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=stream, width=width, highlight=False)
    for renderable in found:
        console.print(renderable)


def list_calls(
    declarations: Iterable[CallDeclaration], implemented: Collection[int]
) -> list[RenderableType]:
    """Return the list of all calls: those of the reference table, then those beside it.

    Args:
        declarations: the calls in order of their codes.
        implemented: the codes of those that have a handler.
    """
    every = list(declarations)
    found: list[RenderableType] = []
    counts = []
    for chosen, word in (
        ([each for each in every if each.in_reference_table], "calls"),
        ([each for each in every if not each.in_reference_table], "beside them"),
    ):
        if not chosen:
            continue
        if found:
            found += ["", "[bold]Beside the reference table[/bold]"]
        found.append(_table_of(chosen, implemented))
        counted = sum(each.code in implemented for each in chosen)
        counts.append(f"{len(chosen)} {word}, {counted} of them implemented")
    return [*found, f"{'; '.join(counts)}; sizes in bytes."]


def _table_of(
    declarations: Iterable[CallDeclaration], implemented: Collection[int]
) -> RenderableType:
    from rich.table import Table

    from hypercall.tlfs.reference import input_text, output_text

    table = Table("code", "name", "class", "input", "output", "implemented", box=None)
    for declaration in declarations:
        table.add_row(
            f"{declaration.code:#06x}",
            declaration.name,
            declaration.call_class.value,
            input_text(declaration),
            output_text(declaration),
            "yes" if declaration.code in implemented else "not yet",
        )
    return table


def describe_call(declaration: CallDeclaration, implemented: bool) -> list[RenderableType]:
    """Return the description of one call.

    Args:
        declaration: the call.
        implemented: whether it has a handler.
    """
    from rich.markup import escape
    from rich.table import Table

    from hypercall.tlfs.reference import (
        extra_data_text,
        field_note,
        properties_of,
        statuses_of,
        structures_of,
    )

    grid = Table.grid(padding=(0, 2))
    for name, text in properties_of(declaration, implemented):
        grid.add_row(f"  {name}", escape(text))
    found: list[RenderableType] = [
        f"[bold]{declaration.name}[/bold] ({declaration.code:#06x})",
        escape(declaration.summary),
        grid,
    ]
    for heading, structure in structures_of(declaration):
        table = Table("offset", "size", "field", "meaning", box=None)
        for field in structure.fields:
            table.add_row(str(field.offset), str(field.size), field.name, escape(field_note(field)))
        found += ["", f"[bold]{heading}[/bold] {structure.name}", table]
    found += [escape(text.replace("`", "")) for text in extra_data_text(declaration)]
    if declaration.statuses:
        table = Table("value", "name", "when", "source", box=None)
        for each in statuses_of(declaration):
            table.add_row(
                f"{int(each.status):#04x}",
                each.status.name,
                escape(each.when),
                escape(each.source),
            )
        found += ["", "[bold]Statuses[/bold] beside 2, 3 and 4, which every call can have", table]
    if declaration.known:
        found += ["", "[bold]What is known[/bold]", escape(declaration.known)]
    return found
