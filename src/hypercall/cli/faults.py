"""``hypercall faults``: how faults are written; and what became of those of a run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.cli.guest import GuestMachine, InjectedFault

_WIDTH_WITHOUT_TERMINAL = 120


def faults_command() -> None:
    """Explain the faults that hypercall run --inject takes and hypercall sweep tries."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from hypercall.faults.grammar import KEYS, KINDS

    stream = sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=stream, width=width, highlight=False)
    console.print(
        "A fault is a list with commas: its kind, and what narrows it down or says what happens."
    )
    for kind in KINDS.values():
        console.print()
        console.print(f"[bold]{kind.key}[/bold]{escape(_value(kind.value))}: {kind.meaning}")
        if kind.keys:
            console.print(f"  with {', '.join(kind.keys)}", soft_wrap=True)
        console.print(escape(f"  --inject '{kind.example}'"), soft_wrap=True)
    table = Table("part", "meaning", box=None, padding=(0, 2, 0, 0))
    for key, (form, meaning) in KEYS.items():
        table.add_row(escape(f"{key}={form}" if form else key), escape(meaning))
    console.print()
    console.print(table)
    console.print("\nAll random choice comes from the seed: the same options give the same run.")


def _value(form: str) -> str:
    return f"[={form[1:]}" if form.startswith("[") else f"={form}"


def check_faults(texts: Sequence[str]) -> None:
    """Find out what is wrong with faults before a machine is made.

    Raises:
        InputError: one of them means nothing.
    """
    if not texts:
        return
    from hypercall.faults.grammar import parse_fault

    try:
        for text in texts:
            parse_fault(text)
    except InputError as error:
        raise InputError(f"--inject: {error}") from None


def inject_faults(machine: GuestMachine, texts: Sequence[str]) -> list[InjectedFault]:
    """Arm faults on a machine.

    Raises:
        InputError: the machine has nothing that one of them names.
    """
    try:
        return [machine.inject(text) for text in texts]
    except InputError as error:
        raise InputError(f"--inject: {error}") from None


def write_faults(stream: IO[str], faults: Sequence[InjectedFault]) -> None:
    """Write what became of the faults of a run; nothing if there were none."""
    if not faults:
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(
        file=stream, width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False
    )
    table = Table(title="Injected faults", title_justify="left")
    table.add_column("fault", overflow="fold")
    table.add_column("fitted", justify="right")
    table.add_column("struck", justify="right")
    for fault in faults:
        table.add_row(
            escape(str(fault)), f"{fault.seen:,}" if fault.seen else "", f"{fault.struck:,}"
        )
    console.print(table)
