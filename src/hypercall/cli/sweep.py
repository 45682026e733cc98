"""``hypercall sweep``: let one thing after another go wrong, and tell what that does to a guest."""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from hypercall.cli.inputs import check_choice, check_input_file
from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.faults.points import Choice
    from hypercall.faults.sweep import Progress as SweepProgress
    from hypercall.faults.sweep import Row, SweepSettings
    from hypercall.machine.machine import Machine

_LARGEST_SEED = (1 << 64) - 1
_MOST_CPUS = 64
_MOST_JOBS = 64
_WIDTH_WITHOUT_TERMINAL = 160
_SECONDS_BETWEEN = 0.1
_DROPS = ("interrupts", "messages", "timers")
_COLOURS = {"panicked": "red", "hung": "red", "corrupted": "red", "failed": "magenta"}


def sweep_command(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", help="What to boot, as for hypercall run.")
    ],
    initrd: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The initial RAM disk.")
    ] = None,
    append: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The kernel's command line; console=ttyS0 for Linux by default."
        ),
    ] = None,
    cpus: Annotated[int, typer.Option(metavar="N", help="Virtual processors, 1 to 64.")] = 1,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Guest memory, such as 256M or 1G.")
    ] = "256M",
    seed: Annotated[int, typer.Option(metavar="N", help="Varies the turns of the processors.")] = 0,
    shuffle_vp_index: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed by which VP indexes and APIC ids are made to differ."),
    ] = None,
    like: Annotated[
        str,
        typer.Option(
            metavar="SET",
            help="Whose reading of the specification: hyperv, kvm, xen or openvmm.",
        ),
    ] = "hyperv",
    privileges: Annotated[
        str,
        typer.Option(metavar="PROFILE|MASK|+NAME,-NAME", help="What the partition may do and has."),
    ] = "default",
    entry: Annotated[
        str,
        typer.Option(
            metavar="vmlinux|decompressor",
            help="Enter a bzImage at the kernel inside it, or where firmware would.",
        ),
    ] = "vmlinux",
    call: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME|CODE", help="Only this call; repeatable."),
    ] = None,
    no_calls: Annotated[
        bool, typer.Option("--no-calls", help="No calls, only what --drop names.")
    ] = False,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="This status, instead of those that each call is known to have; repeatable."
            " SUCCESS does nothing and says it did.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="interrupts|messages|timers",
            help="Also lose the first of each interrupt, message or timer; repeatable.",
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option("--max", metavar="N", help="At most so many points, spread over all."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="What a console must have, instead of its last lines; repeatable.",
        ),
    ] = None,
    factor: Annotated[
        float,
        typer.Option(
            metavar="N",
            help="A guest hangs that takes so many times the virtual time that it takes without"
            " faults, and at least a second.",
        ),
    ] = 3.0,
    limit: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Virtual time in which it must end without faults."),
    ] = 300.0,
    jobs: Annotated[int, typer.Option(metavar="N", help="So many runs at a time.")] = 2,
    output: Annotated[
        str, typer.Option(metavar="table|jsonl", help="A table for people, or JSON lines.")
    ] = "table",
) -> None:
    """Run a boot once for each thing that could go wrong, and tell what that does to the guest.

    By default each call from each place in the guest fails once with each status that it is known
    to have, and a rep call once completes only half of its elements. Each run goes on from the
    point itself, by a fork: the boot up to there is done once. The guest must end by itself; it
    tells by its exit code, and by its console, whether it is sound.

    Exit codes: 0 the guest survives everything, 1 something makes it panic, hang or go wrong, 2 bad
    usage or input, or a guest that fails without faults too, 70 a run of this program failed.
    """
    options = _options(
        image, initrd, append, cpus, memory, seed, shuffle_vp_index, like, privileges, entry
    )
    settings = _settings(_choice(call, no_calls, status, drop, most), expect, factor, limit, jobs)
    check_choice("--output", output, ("table", "jsonl"))
    raise typer.Exit(_sweep(options, settings, output))


def _options(
    image: Path,
    initrd: Path | None,
    append: str | None,
    cpus: int,
    memory: str,
    seed: int,
    shuffle_vp_index: int | None,
    like: str,
    privileges: str,
    entry: str,
) -> Callable[[], Machine]:
    """Check what concerns the machine; return what makes it with its guest."""
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.guest import RunOptions, make_machine
    from hypercall.cli.inputs import parse_memory
    from hypercall.cli.session import load_guest
    from hypercall.partition.profiles import parse_privileges
    from hypercall.tlfs.readings import SET_NAMES

    if not 1 <= cpus <= _MOST_CPUS:
        raise InputError(f"--cpus: {cpus} is not between 1 and {_MOST_CPUS}")
    for option, number in (("--seed", seed), ("--shuffle-vp-index", shuffle_vp_index)):
        if number is not None and not 0 <= number <= _LARGEST_SEED:
            raise InputError(f"{option}: {number} is not between 0 and 2**64 - 1")
    try:
        parse_privileges(privileges)
    except InputError as error:
        raise InputError(f"--privileges: {error}") from None
    check_choice("--like", like, SET_NAMES)
    check_choice("--entry", entry, ("vmlinux", "decompressor"))
    for what, path in (("image", image), ("initrd", initrd)):
        if path is not None:
            check_input_file(path, what)
            if not path.is_file():
                raise InputError(f"cannot read the {what} {path} twice: copy it into a file")
    options = RunOptions(
        image=image,
        initrd=initrd,
        append=append,
        cpus=cpus,
        memory=parse_memory(memory),
        seed=seed,
        shuffle_vp_index=shuffle_vp_index,
        like=like,
        privileges=privileges,
        entry="decompressor" if entry == "decompressor" else "vmlinux",
    )

    def make() -> Machine:
        from hypercall.machine.machine import Machine

        machine = make_machine(options)
        assert isinstance(machine, Machine)
        load_guest(machine, options)
        return machine

    return make


def _choice(
    calls: list[str] | None,
    no_calls: bool,
    statuses: list[str] | None,
    drops: list[str] | None,
    most: int | None,
) -> Choice:
    from hypercall.faults.grammar import parse_status
    from hypercall.faults.points import Choice, DeliveryKind
    from hypercall.tlfs.calls import DECLARATIONS

    if no_calls and calls:
        raise InputError("--call and --no-calls exclude one another: give one of them")
    if no_calls and not drops:
        raise InputError("--no-calls leaves nothing to try: add --drop")
    if most is not None and most < 1:
        raise InputError(f"--max: {most} points are none: give 1 or more")
    for each in drops or ():
        check_choice("--drop", each, _DROPS)
    try:
        codes = None if calls is None else frozenset(DECLARATIONS.find(each).code for each in calls)
    except InputError as error:
        raise InputError(f"--call: {error}") from None
    try:
        chosen = None if statuses is None else tuple(parse_status(each) for each in statuses)
    except InputError as error:
        raise InputError(f"--status: {error}") from None
    return Choice(
        calls=frozenset() if no_calls else codes,
        statuses=chosen,
        drops=frozenset(DeliveryKind(each) for each in drops or ()),
        most=most,
    )


def _settings(
    choice: Choice, expect: list[str] | None, factor: float, limit: float, jobs: int
) -> SweepSettings:
    from hypercall.faults.sweep import SweepSettings

    if not (factor >= 1 and math.isfinite(factor)):
        raise InputError(f"--factor: {factor:g} is not a number from 1 on")
    if not (limit > 0 and math.isfinite(limit)):
        raise InputError(f"--limit: {limit:g} is not a number of seconds greater than 0")
    if not 1 <= jobs <= _MOST_JOBS:
        raise InputError(f"--jobs: {jobs} is not between 1 and {_MOST_JOBS}")
    return SweepSettings(
        choice=choice,
        limit_ns=max(1, round(limit * 1e9)),
        factor=factor,
        jobs=jobs,
        expected=tuple(expect or ()),
    )


def _sweep(make: Callable[[], Machine], settings: SweepSettings, output: str) -> int:
    from hypercall.cli.exit_code import ExitCode
    from hypercall.cli.progress import Progress
    from hypercall.faults.judgement import Outcome
    from hypercall.faults.sweep import sweep

    line = Progress(sys.stderr)
    shown = 0.0

    def show(progress: SweepProgress) -> None:
        nonlocal shown
        now = time.monotonic()
        if now < shown + _SECONDS_BETWEEN:
            return
        shown = now
        seconds = f"{progress.virtual_ns / 1e9:.2f} s of virtual time"
        if progress.points:
            line.show(f"{progress.done} of {progress.points} points done, at {seconds}")
        else:
            line.show(f"without faults, {seconds}")

    def write(row: Row) -> None:
        if output == "jsonl":
            sys.stdout.write(row_line(row))
            sys.stdout.flush()

    started = time.monotonic()
    try:
        rows = sweep(make, settings, on_row=write, on_progress=show)
    finally:
        line.clear()
    if output == "table":
        write_table(sys.stdout, rows)
    sys.stderr.write(f"{outcome_line(rows)} In {time.monotonic() - started:.1f} s.\n")
    outcomes = {row.outcome for row in rows}
    if Outcome.FAILED in outcomes:
        return ExitCode.INTERNAL_ERROR
    return ExitCode.PASSED if outcomes == {Outcome.SURVIVED} else ExitCode.GUEST_FAILED


def row_line(row: Row) -> str:
    """Return a row as a line of JSON."""
    return json.dumps(asdict(row) | {"outcome": row.outcome.value}) + "\n"


def write_table(stream: IO[str], rows: Sequence[Row]) -> None:
    """Write the rows for people; coloured if they look."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(
        file=stream, width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL, highlight=False
    )
    table = Table()
    table.add_column("", justify="right")
    table.add_column("fault", overflow="fold")
    table.add_column("from", overflow="fold")
    table.add_column("outcome")
    table.add_column("virtual s", justify="right")
    table.add_column("detail", overflow="fold")
    for row in rows:
        table.add_row(
            str(row.number),
            escape(row.fault),
            escape(row.place or ""),
            row.outcome.value,
            "" if row.virtual_ns is None else f"{row.virtual_ns / 1e9:.3f}",
            escape(row.detail),
            style=_COLOURS.get(row.outcome.value),
        )
    console.print(table)


def outcome_line(rows: Sequence[Row]) -> str:
    """Return one sentence on how many points had which outcome."""
    counts = Counter(row.outcome for row in rows)
    parts = [f"{count} {outcome.value}" for outcome, count in counts.items()]
    return f"{len(rows)} points: {', '.join(sorted(parts, key=_word))}."


def _word(part: str) -> str:
    return part.split()[1]
