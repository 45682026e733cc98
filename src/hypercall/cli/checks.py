"""``hypercall checks``: the rules that guests are checked by."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hypercall.checks.rule import Rule

_WIDTH_WITHOUT_TERMINAL = 120


def checks_command(
    rule: Annotated[
        str | None,
        typer.Argument(metavar="[RULE]", help="The rule to describe, as parameter-overlap."),
    ] = None,
) -> None:
    """List the rules that `hypercall run` checks a guest by, or describe one: why it matters."""
    from rich.console import Console

    from hypercall.checks.rules import RULES, find_rule

    found = list_rules(RULES) if rule is None else describe_rule(find_rule(rule))
    stream = sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=stream, width=width, highlight=False)
    for renderable in found:
        console.print(renderable)


def list_rules(rules: tuple[Rule, ...]) -> list[RenderableType]:
    """Return the table of all rules."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("rule", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("finds")
    for rule in rules:
        table.add_row(rule.name, rule.severity.value, escape(rule.summary))
    return [table, f"{len(rules)} rules; `hypercall checks RULE` says why one matters."]


def describe_rule(rule: Rule) -> list[RenderableType]:
    """Return the description of one rule."""
    from rich.markup import escape
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_row("finds", escape(rule.summary))
    grid.add_row("why", escape(rule.why))
    grid.add_row("TLFS", escape(rule.section))
    grid.add_row("looks at", rule.source.text)
    return [f"[bold]{rule.name}[/bold] ({rule.severity.value})", grid]
