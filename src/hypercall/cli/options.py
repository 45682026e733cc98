"""The options that several commands have: how they are written, and what is wrong with a value."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.cli.inputs import check_choice
from hypercall.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypercall.recording.moment import Moment

LARGEST_SEED = (1 << 64) - 1
MOST_CPUS = 64
TRACE_FORMATS = ("strace", "jsonl", "perfetto")
ENTRIES = ("vmlinux", "decompressor")
_OF_THE_MACHINE = (
    *("initrd", "append", "cpus", "memory", "seed", "shuffle_vp_index", "time", "like"),
    *("privileges", "entry"),
)

# --- what the machine is made of -----------------------------------------------------------------

Initrd = Annotated[Path | None, typer.Option(metavar="FILE", help="The initial RAM disk.")]
Append = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="The kernel's command line; console=ttyS0 for Linux by default."
    ),
]
Memory = Annotated[str, typer.Option(metavar="SIZE", help="Guest memory, such as 256M or 1G.")]
Seed = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Varies the turns of the processors; the same seed gives the same run.",
    ),
]
ShuffleVpIndex = Annotated[
    int | None,
    typer.Option(metavar="N", help="Seed by which VP indexes and APIC ids are made to differ."),
]
Like = Annotated[
    str,
    typer.Option(
        metavar="SET",
        help="Whose reading of the specification: hyperv, kvm, xen or openvmm.",
    ),
]
Entry = Annotated[
    str,
    typer.Option(
        metavar="vmlinux|decompressor",
        help="Enter a bzImage at the kernel inside it (quicker), or where firmware would.",
    ),
]

# --- what is seen of it --------------------------------------------------------------------------

Trace = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="Write every hypercall here; - is the standard error."),
]
TraceFormat = Annotated[
    str | None,
    typer.Option(
        metavar="strace|jsonl|perfetto",
        help="Lines for people (strace, the default), JSON lines, or a file for ui.perfetto.dev.",
    ),
]
TraceEvents = Annotated[
    str | None,
    typer.Option(
        metavar="calls|all|KIND,...",
        help="What to trace: calls (the default for lines) with trust levels, findings and the"
        " machine, all, or some of hypercall, msr, cpuid, console, interrupt, message, halt,"
        " vtl, machine, finding.",
    ),
]
Coverage = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|-",
        help="At the end, write which enlightenments the guest was offered, read about and used,"
        " and what a better one would do; JSON if FILE ends in .json; - is the standard error.",
    ),
]
Check = Annotated[
    str | None,
    typer.Option(
        metavar="[warn|strict|off]",
        help="Check the guest by the rules of `hypercall checks`: tell at the end (warn, the"
        " default for an image, and what --check alone means), end the run at the first mistake"
        " with exit code 1 (strict).",
    ),
]
CheckStale = Annotated[
    bool,
    typer.Option(
        "--check-stale",
        help="Also find uses of translations that the guest should have flushed; slower.",
    ),
]
Gdb = Annotated[
    str | None,
    typer.Option(
        metavar=":PORT|HOST:PORT|unix:PATH",
        help="Wait for gdb's `target remote` before the first instruction, or where --stop-at"
        " stops, and let it debug the guest; :PORT is on the loopback interface.",
    ),
]
StopAt = Annotated[
    str | None,
    typer.Option(
        metavar="TIME|call:N|call:NAME[:N]|event:KIND[:N]|console:TEXT",
        help="Stop at a virtual time such as 1.5s or 20ms, when the N-th hypercall (of a kind) has"
        " just been made, when an event of a trace has come, such as finding, or when the guest has"
        " written a text to the console.",
    ),
]
Save = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Where the run stops, save a snapshot; `hypercall run FILE` goes on from it.",
    ),
]


def check_origin(context: typer.Context, origin: str) -> None:
    """Find out whether the user wants a machine of a snapshot to be made of something else.

    Args:
        context: the command's context.
        origin: what the guest comes from, see `hypercall.cli.guest.Origin`.

    Raises:
        InputError: there is an option of the machine, and the guest comes from a snapshot.
    """
    if origin == "snapshot" and (fixed := given(context, _OF_THE_MACHINE)):
        raise InputError(f"{fixed[0]}: a snapshot has its own machine: leave it out")


def check_machine(
    cpus: int, seed: int, shuffle_vp_index: int | None, like: str, privileges: str, entry: str
) -> None:
    """Find out what is wrong with what the user wants a machine to be made of.

    Raises:
        InputError: an option has a value that it cannot have.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.partition.profiles import parse_privileges
    from hypercall.tlfs.readings import SET_NAMES

    if not 1 <= cpus <= MOST_CPUS:
        raise InputError(f"--cpus: {cpus} is not between 1 and {MOST_CPUS}")
    try:
        parse_privileges(privileges)
    except InputError as error:
        raise InputError(f"--privileges: {error}") from None
    for option, number in (("--seed", seed), ("--shuffle-vp-index", shuffle_vp_index)):
        if number is not None and not 0 <= number <= LARGEST_SEED:
            raise InputError(f"{option}: {number} is not between 0 and 2**64 - 1")
    check_choice("--like", like, SET_NAMES)
    check_choice("--entry", entry, ENTRIES)


def check_trace(trace: str | None, trace_format: str | None, trace_events: str | None) -> None:
    """Find out what is wrong with what the user wants to be traced.

    Raises:
        InputError: an option has a value that it cannot have, or is there without ``--trace``.
    """
    if trace_format is not None:
        if trace is None:
            raise InputError("--trace-format says how to write a trace: add --trace FILE")
        check_choice("--trace-format", trace_format, TRACE_FORMATS)
    if trace_events is None:
        return
    from hypercall.trace.kinds import parse_kinds

    if trace is None:
        raise InputError("--trace-events says what to write to a trace: add --trace FILE")
    try:
        parse_kinds(trace_events)
    except InputError as error:
        raise InputError(f"--trace-events: {error}") from None


def default_events(trace_events: str | None, trace_format: str | None) -> str:
    """Return which events to trace if the user does not say."""
    return trace_events or ("all" if trace_format == "perfetto" else "calls")


def check_checks(check: str, stale: bool) -> None:
    """Find out what is wrong with how the user wants a guest to be checked.

    Raises:
        InputError: there is no such way, or one switch contradicts another.
    """
    from hypercall.cli.findings import CHECK_MODES

    check_choice("--check", check, CHECK_MODES)
    if stale and check == "off":
        raise InputError("--check-stale is a check: add --check=warn or --check=strict")


def moment_of(stop_at: str | None) -> Moment | None:
    """Return the moment at which the user wants to stop.

    Raises:
        InputError: the text means none.
    """
    if stop_at is None:
        return None
    from hypercall.recording.moment import parse_moment

    try:
        return parse_moment(stop_at)
    except InputError as error:
        raise InputError(f"--stop-at: {error}") from None


def check_gdb(place: str | None) -> None:
    """Find out what is wrong with the place where gdb is to be served.

    Raises:
        InputError: it means nothing.
    """
    if place is None:
        return
    from hypercall.gdb.place import Place

    try:
        Place(place)
    except InputError as error:
        raise InputError(f"--gdb: {error}") from None


def seconds_to_ns(option: str, seconds: float) -> int:
    """Turn a number of seconds into nanoseconds, at least 1.

    Raises:
        InputError: it is not greater than 0, or not finite.
    """
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InputError(f"{option}: {seconds:g} is not a number of seconds greater than 0")
    return max(1, round(seconds * 1e9))


def given(context: typer.Context, names: Sequence[str]) -> list[str]:
    """Return which options of a command the user gave, as they are typed.

    Args:
        context: the command's context.
        names: the parameters to look at.
    """
    sources = {name: context.get_parameter_source(name) for name in names}
    return [
        f"--{name.replace('_', '-')}"
        for name, source in sources.items()
        if source is not None and source.name == "COMMANDLINE"
    ]
