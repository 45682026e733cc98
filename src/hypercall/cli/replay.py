"""``hypercall replay``: do a recorded run again, up to any moment of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.cli import options
from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.cli.exit_code import ExitCode
    from hypercall.machine.machine import Machine
    from hypercall.machine.result import RunResult
    from hypercall.recording.recording import Recording


def replay_command(
    context: typer.Context,
    recording: Annotated[
        Path,
        typer.Argument(metavar="RECORDING", help="What `hypercall run --record` has written."),
    ],
    trace: options.Trace = None,
    trace_format: options.TraceFormat = None,
    trace_events: options.TraceEvents = None,
    coverage: options.Coverage = None,
    check: options.Check = None,
    check_stale: options.CheckStale = False,
    gdb: options.Gdb = None,
    stop_at: options.StopAt = None,
    save: options.Save = None,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            "-i",
            help="Go forward and back in the run by commands from the standard input; `help` lists"
            " them.",
        ),
    ] = False,
    console: Annotated[
        str,
        typer.Option(
            metavar="FILE|-", help="Write the serial console here; - is the standard output."
        ),
    ] = "-",
) -> None:
    """Do a recorded run again: the same machine, image, input and time, to the last instruction.

    It can be seen in more ways than the first time, stopped at any moment, and debugged.

    Exit codes: 0 the run was the recorded one, or --stop-at stopped it, 1 it was another one, or a
    finding with --check=strict, 2 bad usage or input, 70 a mistake of this program, 74 an output
    could not be written, 130 interrupted, 141 the reader of the standard output went away.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.guest import RunOptions
    from hypercall.cli.inputs import check_input_file
    from hypercall.cli.session import run_guest
    from hypercall.recording.recording import Recording, is_recording
    from hypercall.snapshot.snapshot_file import is_snapshot

    options.check_trace(trace, trace_format, trace_events)
    options.check_checks(check or "warn", check_stale)
    options.check_gdb(gdb)
    moment = options.moment_of(stop_at)
    check_input_file(recording, "recording")
    if is_snapshot(recording) and not is_recording(recording):
        raise InputError(
            f"{recording} is a snapshot: go on from it with `hypercall run {recording}`"
        )
    recorded = Recording.load(recording)
    if interactive:
        _check_alone(context)
        from hypercall.cli.travel import travel

        travel(recorded, sys.stdin, sys.stdout)
        return
    if check is None:
        check = "off" if recorded.is_tour else "warn"
    wanted = RunOptions(
        image=recording,
        origin="recording",
        cpus=recorded.configuration.cpus,
        limit_ns=recorded.limit_ns,
        trace=trace,
        trace_format=trace_format or "strace",
        trace_events=options.default_events(trace_events, trace_format),
        coverage=coverage,
        console=console,
        gdb=gdb,
        check=check,
        check_stale=check_stale,
        stop_at=moment,
        save=save,
    )
    whole = moment is None and gdb is None
    machine = recorded.machine()
    code = run_guest(
        wanted, lambda _: machine, lambda result: _judge(recorded, result, machine, whole)
    )
    raise typer.Exit(code)


def _check_alone(context: typer.Context) -> None:
    others = set(context.params) - {"recording", "interactive"}
    if given := options.given(context, sorted(others)):
        raise InputError(
            f"{given[0]}: with --interactive the commands say what is done: leave it out"
        )


def _judge(recorded: Recording, result: RunResult, machine: Machine, whole: bool) -> ExitCode:
    """Say whether a run was the recorded one, and return the exit code."""
    from hypercall.cli.exit_code import ExitCode
    from hypercall.machine.result import StopReason

    if result.reason is StopReason.INTERRUPTED:
        return ExitCode.INTERRUPTED
    if not whole or result.reason is StopReason.PAUSED:
        # Somebody stopped it before its end: the user, or a check that is strict.
        return ExitCode.PASSED
    difference = recorded.difference(result, machine)
    if difference is not None:
        sys.stderr.write(f"The run is not the recorded one: {difference}.\n")
        return ExitCode.GUEST_FAILED
    if recorded.end is None:
        sys.stderr.write("How the recorded run ended is not known.\n")
    else:
        sys.stderr.write("The run is the recorded one, to its end.\n")
    return ExitCode.PASSED
