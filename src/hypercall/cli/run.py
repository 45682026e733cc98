"""``hypercall run``: boot an image and watch every hypercall that it makes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from hypercall.cli.inputs import check_choice
from hypercall.errors import InputError

_LARGEST_SEED = (1 << 64) - 1
_MOST_CPUS = 64


def run(
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="[IMAGE]",
            help="A Linux bzImage or vmlinux, another ELF file, or a flat binary; without one the"
            " tour runs.",
        ),
    ] = None,
    initrd: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The initial RAM disk.")
    ] = None,
    append: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="The kernel's command line; console=ttyS0 for Linux by default."
        ),
    ] = None,
    cpus: Annotated[
        int | None,
        typer.Option(metavar="N", help="Virtual processors, 1 to 64; 1, or 2 for the tour."),
    ] = None,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Guest memory, such as 256M or 1G.")
    ] = "256M",
    seed: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Varies the turns of the processors; the same seed gives the same run.",
        ),
    ] = 0,
    shuffle_vp_index: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed by which VP indexes and APIC ids are made to differ."),
    ] = None,
    time: Annotated[
        str,
        typer.Option(
            metavar="virtual|host",
            help="Count time by executed code (repeatable), or take the host's.",
        ),
    ] = "virtual",
    like: Annotated[
        str,
        typer.Option(
            metavar="SET",
            help="Whose reading of the specification: hyperv, kvm, xen or openvmm.",
        ),
    ] = "hyperv",
    privileges: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE|MASK|+NAME,-NAME",
            help="What the partition may do and has: default, all (the tour's), minimal,"
            " windows-server-2022, generation-2, windows-11, kvm; a mask; or changes.",
        ),
    ] = None,
    trace: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="Write every hypercall here; - is the standard error."),
    ] = None,
    trace_format: Annotated[
        str | None,
        typer.Option(
            metavar="strace|jsonl|perfetto",
            help="Lines for people (strace, the default), JSON lines, or a file for"
            " ui.perfetto.dev.",
        ),
    ] = None,
    trace_events: Annotated[
        str | None,
        typer.Option(
            metavar="calls|all|KIND,...",
            help="What to trace: calls (the default for lines) with trust levels, findings and the"
            " machine, all, or some of hypercall, msr, cpuid, console, interrupt, message, halt,"
            " vtl, machine, finding.",
        ),
    ] = None,
    coverage: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="At the end, write which enlightenments the guest was offered, read about and"
            " used, and what a better one would do; JSON if FILE ends in .json; - is the standard"
            " error.",
        ),
    ] = None,
    debug_channel: Annotated[
        str | None,
        typer.Option(
            metavar="tcp:[HOST:]PORT|unix:PATH|file:PATH",
            help="Carry the guest's debug channel: listen for a debugger (TCP on the loopback"
            " interface unless there is a host), or write what the guest posts to a file.",
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="warn|strict|off",
            help="Check the guest by the rules of `hypercall checks`: tell at the end (warn, the"
            " default for an image), end the run at the first mistake with exit code 1 (strict).",
        ),
    ] = None,
    check_stale: Annotated[
        bool,
        typer.Option(
            "--check-stale",
            help="Also find uses of translations that the guest should have flushed; slower.",
        ),
    ] = False,
    gdb: Annotated[
        str | None,
        typer.Option(
            metavar=":PORT|HOST:PORT|unix:PATH",
            help="Wait for gdb's `target remote` before the first instruction, and let it debug"
            " the guest; :PORT is on the loopback interface.",
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop after so much virtual time, with exit code 3."),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FAULT",
            help="Let something go wrong, such as call=PostMessage,nth=3,status=NO_RESOURCES;"
            " repeatable. `hypercall faults` explains them.",
        ),
    ] = None,
    console: Annotated[
        str,
        typer.Option(
            metavar="FILE|-",
            help="Write the serial console here; - is the standard output, and takes input.",
        ),
    ] = "-",
    entry: Annotated[
        str,
        typer.Option(
            metavar="vmlinux|decompressor",
            help="Enter a bzImage at the kernel inside it (quicker), or where firmware would.",
        ),
    ] = "vmlinux",
) -> None:
    """Boot an image, serve its hypercalls, and show what it called. Without an image, the tour.

    On a terminal the serial console is interactive: Ctrl-A x leaves, Ctrl-A h shows the keys.

    Exit codes: 0 the guest powered off or passed, 1 the guest failed (panic, triple fault, reset,
    dead halt, a value other than 0 at port 0xF4, a finding with --check=strict), 2 bad usage or
    input, 3 the limit stopped it, 70 a mistake of this program, 74 an output could not be written,
    130 interrupted, 141 the reader of the standard output went away.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.faults import check_faults
    from hypercall.cli.findings import CHECK_MODES
    from hypercall.cli.guest import RunOptions
    from hypercall.cli.inputs import parse_memory
    from hypercall.cli.session import run_guest
    from hypercall.partition.profiles import DEFAULT_PROFILE, parse_privileges
    from hypercall.tlfs.readings import SET_NAMES
    from hypercall.tour import TOUR_CPUS, TOUR_PRIVILEGES

    if trace_format is not None and trace is None:
        raise InputError("--trace-format says how to write a trace: add --trace FILE")
    if trace_events is not None:
        _check_trace_events(trace_events, trace)
    if image is None and (initrd is not None or append is not None):
        raise InputError("--initrd and --append are for an image of Linux: give an IMAGE")
    if cpus is None:
        cpus = TOUR_CPUS if image is None else 1
    if not 1 <= cpus <= _MOST_CPUS:
        raise InputError(f"--cpus: {cpus} is not between 1 and {_MOST_CPUS}")
    if privileges is None:
        privileges = TOUR_PRIVILEGES if image is None else DEFAULT_PROFILE
    try:
        parse_privileges(privileges)
    except InputError as error:
        raise InputError(f"--privileges: {error}") from None
    for option, number in (("--seed", seed), ("--shuffle-vp-index", shuffle_vp_index)):
        if number is not None and not 0 <= number <= _LARGEST_SEED:
            raise InputError(f"{option}: {number} is not between 0 and 2**64 - 1")
    if limit is not None and not (limit > 0 and math.isfinite(limit)):
        raise InputError(f"--limit: {limit:g} is not a number of seconds greater than 0")
    check_choice("--time", time, ("virtual", "host"))
    check_choice("--like", like, SET_NAMES)
    check_choice("--trace-format", trace_format or "strace", ("strace", "jsonl", "perfetto"))
    check_choice("--entry", entry, ("vmlinux", "decompressor"))
    check_faults(inject or ())
    if check is None:
        # The tour makes mistakes on purpose.
        check = "off" if image is None else "warn"
    check_choice("--check", check, CHECK_MODES)
    if check_stale and check == "off":
        raise InputError("--check-stale is a check: add --check=warn or --check=strict")
    if debug_channel is not None:
        _check_debug_channel(debug_channel)
    if gdb is not None:
        _check_gdb(gdb)
    options = RunOptions(
        image=image,
        initrd=initrd,
        append=append,
        cpus=cpus,
        memory=parse_memory(memory),
        seed=seed,
        shuffle_vp_index=shuffle_vp_index,
        time=time,
        like=like,
        privileges=privileges,
        entry="decompressor" if entry == "decompressor" else "vmlinux",
        limit_ns=None if limit is None else max(1, round(limit * 1e9)),
        trace=trace,
        trace_format=trace_format or "strace",
        trace_events=trace_events or ("all" if trace_format == "perfetto" else "calls"),
        coverage=coverage,
        console=console,
        debug_channel=debug_channel,
        gdb=gdb,
        inject=tuple(inject or ()),
        check=check,
        check_stale=check_stale,
    )
    raise typer.Exit(run_guest(options))


def _check_trace_events(text: str, trace: str | None) -> None:
    from hypercall.trace.kinds import parse_kinds

    if trace is None:
        raise InputError("--trace-events says what to write to a trace: add --trace FILE")
    try:
        parse_kinds(text)
    except InputError as error:
        raise InputError(f"--trace-events: {error}") from None


def _check_debug_channel(text: str) -> None:
    from hypercall.machine.debug_transport import parse_debug_channel

    try:
        parse_debug_channel(text)
    except InputError as error:
        raise InputError(f"--debug-channel: {error}") from None


def _check_gdb(text: str) -> None:
    from hypercall.gdb.place import Place

    try:
        Place(text)
    except InputError as error:
        raise InputError(f"--gdb: {error}") from None
