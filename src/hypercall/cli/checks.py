"""``hypercall checks``: the rules for guests, and where a recorded run breaks them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.cli.exit_code import ExitCode
from hypercall.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hypercall.checks.rule import Rule

_WIDTH_WITHOUT_TERMINAL = 120


def checks_command(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[RULE|RUN]",
            help="The rule to describe, as parameter-overlap; or a recorded run to check: JSON"
            " lines, a recording, or a trace of KVM.",
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End with exit code 1 if RUN breaks a rule."),
    ] = False,
) -> None:
    """List the rules that guests are checked by, describe one, or check a recorded run.

    What RUN does not tell is no finding: the rules that need more than it has are named. Of a
    damaged one what could be read is checked, then the exit code is 2.
    """
    from hypercall.checks.rules import RULES, find_rule, rule_named

    named = None if what is None else rule_named(what)
    if what is not None and named is None and (os.sep in what or Path(what).exists()):
        _check(Path(what), strict=strict)
        return
    if strict:
        raise InputError("--strict is for a recorded run: give the file")
    from rich.console import Console

    found = list_rules(RULES) if what is None else describe_rule(find_rule(what))
    stream = sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=stream, width=width, highlight=False)
    for renderable in found:
        console.print(renderable)


def _check(path: Path, *, strict: bool) -> None:
    from hypercall.cli.findings import check_events, write_recorded
    from hypercall.cli.recorded import Recorded

    recorded = Recorded(path)
    checks = check_events(recorded, recorded.description)
    write_recorded(sys.stdout, checks, recorded.symbol)
    sys.stdout.flush()
    recorded.write_notes(sys.stderr)
    recorded.raise_damage()
    if strict and checks.failures:
        raise typer.Exit(ExitCode.GUEST_FAILED)


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
