"""``hypercall run``: boot an image and watch every hypercall that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.cli import options
from hypercall.cli.inputs import check_choice
from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.cli.guest import Origin


def run(
    context: typer.Context,
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="[IMAGE]",
            help="A Linux bzImage or vmlinux, another ELF file, a flat binary, or a snapshot that"
            " --save made; without one the tour runs.",
        ),
    ] = None,
    initrd: options.Initrd = None,
    append: options.Append = None,
    cpus: Annotated[
        int | None,
        typer.Option(metavar="N", help="Virtual processors, 1 to 64; 1, or 2 for the tour."),
    ] = None,
    memory: options.Memory = "256M",
    seed: options.Seed = 0,
    shuffle_vp_index: options.ShuffleVpIndex = None,
    time: Annotated[
        str,
        typer.Option(
            metavar="virtual|host",
            help="Count time by executed code (repeatable), or take the host's.",
        ),
    ] = "virtual",
    like: options.Like = "hyperv",
    privileges: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE|MASK|+NAME,-NAME",
            help="What the partition may do and has: default, all (the tour's), minimal,"
            " windows-server-2022, generation-2, windows-11, kvm; a mask; or changes.",
        ),
    ] = None,
    trace: options.Trace = None,
    trace_format: options.TraceFormat = None,
    trace_events: options.TraceEvents = None,
    coverage: options.Coverage = None,
    debug_channel: Annotated[
        str | None,
        typer.Option(
            metavar="tcp:[HOST:]PORT|unix:PATH|file:PATH",
            help="Carry the guest's debug channel: listen for a debugger (TCP on the loopback"
            " interface unless there is a host), or write what the guest posts to a file.",
        ),
    ] = None,
    check: options.Check = None,
    check_stale: options.CheckStale = False,
    gdb: options.Gdb = None,
    limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Stop after so much virtual time, with exit code 3."),
    ] = None,
    stop_at: options.StopAt = None,
    save: options.Save = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Record the run; `hypercall replay FILE` does it again, to any moment of it.",
        ),
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
    entry: options.Entry = "vmlinux",
) -> None:
    """Boot an image, serve its hypercalls, and show what it called. Without an image, the tour.

    On a terminal the serial console is interactive: Ctrl-A x leaves, Ctrl-A h shows the keys.

    Exit codes: 0 the guest powered off or passed, or --stop-at stopped it, 1 the guest failed
    (panic, triple fault, reset, dead halt, a value other than 0 at port 0xF4, a finding with
    --check=strict), 2 bad usage or input, or a moment of --stop-at that never came, 3 the limit
    stopped it, 70 a mistake of this program, 74 an output could not be written, 130 interrupted,
    141 the reader of the standard output went away.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.faults import check_faults
    from hypercall.cli.guest import RunOptions, origin_of
    from hypercall.cli.inputs import parse_memory
    from hypercall.cli.session import run_guest
    from hypercall.partition.profiles import DEFAULT_PROFILE
    from hypercall.tour import TOUR_CPUS, TOUR_PRIVILEGES

    origin = origin_of(image)
    options.check_origin(context, origin)
    options.check_trace(trace, trace_format, trace_events)
    if image is None and (initrd is not None or append is not None):
        raise InputError("--initrd and --append are for an image of Linux: give an IMAGE")
    if cpus is None:
        cpus = TOUR_CPUS if image is None else 1
    if privileges is None:
        privileges = TOUR_PRIVILEGES if image is None else DEFAULT_PROFILE
    options.check_machine(cpus, seed, shuffle_vp_index, like, privileges, entry)
    limit_ns = None if limit is None else options.seconds_to_ns("--limit", limit)
    check_choice("--time", time, ("virtual", "host"))
    check_faults(inject or ())
    if check is None:
        # The tour makes mistakes on purpose.
        check = "off" if image is None else "warn"
    options.check_checks(check, check_stale)
    if debug_channel is not None:
        _check_debug_channel(debug_channel)
    options.check_gdb(gdb)
    if save is not None and time == "host":
        raise InputError("--save needs a time that comes again: leave out --time host")
    if record is not None:
        _check_record(origin, time, gdb)
    wanted = RunOptions(
        image=image,
        origin=origin,
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
        limit_ns=limit_ns,
        trace=trace,
        trace_format=trace_format or "strace",
        trace_events=options.default_events(trace_events, trace_format),
        coverage=coverage,
        console=console,
        debug_channel=debug_channel,
        gdb=gdb,
        inject=tuple(inject or ()),
        check=check,
        check_stale=check_stale,
        stop_at=options.moment_of(stop_at),
        save=save,
        record=record,
    )
    raise typer.Exit(run_guest(wanted))


def _check_record(origin: Origin, time: str, gdb: str | None) -> None:
    if origin == "snapshot":
        raise InputError("--record: a recording begins with an image, not in the middle of a run")
    if time == "host":
        raise InputError("--record needs a time that comes again: leave out --time host")
    if gdb is not None:
        raise InputError(
            "--record and --gdb exclude one another, for what gdb changes is not recorded: record"
            " the run, and debug it with `hypercall replay --gdb`"
        )


def _check_debug_channel(text: str) -> None:
    from hypercall.machine.debug_transport import parse_debug_channel

    try:
        parse_debug_channel(text)
    except InputError as error:
        raise InputError(f"--debug-channel: {error}") from None
