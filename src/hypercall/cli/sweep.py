"""``hypercall sweep``: let one thing after another go wrong, and tell what that does to a guest."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.cli.inputs import check_choice, check_input_file, check_output_file
from hypercall.cli.options import (
    Append,
    CheckStale,
    Entry,
    Initrd,
    Like,
    Memory,
    Seed,
    ShuffleVpIndex,
    check_checks,
    check_machine,
    check_origin,
    seconds_to_ns,
)
from hypercall.cli.sweep_results import (
    FORMATS,
    SweepRun,
    first_line,
    outcome_line,
    read_rows,
    row_text,
    write_table,
)
from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.cli.guest import RunOptions
    from hypercall.cli.outputs import Output
    from hypercall.faults.points import Choice
    from hypercall.faults.sweep import Progress as SweepProgress
    from hypercall.faults.sweep import Row, SweepSettings
    from hypercall.machine.machine import Machine

_MOST_JOBS = 64
_SECONDS_BETWEEN = 0.1
_KINDS = ("calls", "interrupts", "messages", "timers", "cpuid", "buffers")


def sweep_command(
    context: typer.Context,
    image: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGE",
            help="What to boot, as for hypercall run, or a snapshot to go on from.",
        ),
    ],
    initrd: Initrd = None,
    append: Append = None,
    cpus: Annotated[int, typer.Option(metavar="N", help="Virtual processors, 1 to 64.")] = 1,
    memory: Memory = "256M",
    seed: Seed = 0,
    shuffle_vp_index: ShuffleVpIndex = None,
    like: Like = "hyperv",
    privileges: Annotated[
        str,
        typer.Option(metavar="PROFILE|MASK|+NAME,-NAME", help="What the partition may do and has."),
    ] = "default",
    entry: Entry = "vmlinux",
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="calls|interrupts|messages|timers|cpuid|buffers",
            help="Only this kind of points; repeatable.",
        ),
    ] = None,
    call: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|CODE", help="Only this call, and by itself nothing else; repeatable."
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="This status, instead of those that each call is known to have; repeatable."
            " SUCCESS does nothing and says it did.",
        ),
    ] = None,
    each: Annotated[
        str,
        typer.Option(
            metavar="N|all",
            help="So many of the calls from one place, and of the deliveries of one kind to one"
            " processor, from the first to the last.",
        ),
    ] = "1",
    delay: Annotated[
        str, typer.Option(metavar="TIME", help="How late a call or a delivery is.")
    ] = "20ms",
    most: Annotated[
        int | None,
        typer.Option("--max", metavar="N", help="At most so many points, spread over all."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="What a console must have, instead of the lines that are not the kernel's;"
            " repeatable.",
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
    check: Annotated[
        str,
        typer.Option(
            metavar="warn|strict|off",
            help="Watch the guest by the rules of `hypercall checks`, and take what it breaks for a"
            " complaint (warn); let complaints decide the exit code too (strict).",
        ),
    ] = "warn",
    check_stale: CheckStale = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="So many runs at a time; one on each of the host's processors by default.",
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="table|jsonl|csv", help="A table for people, JSON lines, or CSV."
        ),
    ] = "table",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Also write each row here as soon as it is there; the name says how: .jsonl or"
            " .csv.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with a sweep that was interrupted: leave out what FILE has."
        ),
    ] = False,
) -> None:
    """Run a boot once for each thing that could go wrong, and tell what that does to the guest.

    Each call from each place in the guest fails with each status that it is known to have, comes
    late, and does less than it should; each interrupt, message and timer is lost, and late; CPUID
    promises what is refused and hides what is granted; buffers are full. Each run goes on from
    the point itself, by a fork: the boot up to there is done once. The guest must end by itself; it
    tells by its exit code, and by its console, whether it is sound.

    Exit codes: 0 the guest survives everything, 1 something makes it panic, hang or go wrong, 2 bad
    usage or input, or a guest that fails without faults too, 70 a run of this program failed, 74
    an output could not be written, 130 interrupted, 141 the reader of the standard output went
    away; the rows so far are written.
    """
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.guest import origin_of

    check_origin(context, origin_of(image))
    options = _options(
        image, initrd, append, cpus, memory, seed, shuffle_vp_index, like, privileges, entry
    )
    check_checks(check, check_stale)
    settings = _settings(
        _choice(only, call, status, each, delay, most), expect, factor, limit, jobs
    )
    settings = replace(settings, watch=check != "off", stale=check_stale)
    options = replace(options, check_stale=check_stale)
    check_choice("--format", form, FORMATS)
    if resume and output is None:
        raise InputError("--resume goes on with a file: name it with -o FILE.jsonl")
    if output is not None:
        _check_output(output, options, resume)
    run = SweepRun(options, settings.limit_ns, factor, settings.expected, settings.watch)
    raise typer.Exit(_Command(options, settings, run, form, output, resume).run(check == "strict"))


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
) -> RunOptions:
    # Not at the top, so that the other commands start quickly.
    from hypercall.cli.guest import RunOptions, origin_of
    from hypercall.cli.inputs import parse_memory

    check_machine(cpus, seed, shuffle_vp_index, like, privileges, entry)
    for what, path in (("image", image), ("initrd", initrd)):
        if path is not None:
            check_input_file(path, what)
            if not path.is_file():
                raise InputError(f"cannot read the {what} {path} twice: copy it into a file")
    return RunOptions(
        image=image,
        origin=origin_of(image),
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


def _choice(
    only: list[str] | None,
    calls: list[str] | None,
    statuses: list[str] | None,
    each: str,
    delay: str,
    most: int | None,
) -> Choice:
    from hypercall.faults.grammar import parse_fault_time, parse_status
    from hypercall.faults.points import EVERYTHING, Choice, PointKind
    from hypercall.tlfs.calls import DECLARATIONS

    for kind in only or ():
        check_choice("--only", kind, _KINDS)
    kinds = frozenset(PointKind(kind) for kind in only) if only else EVERYTHING
    if (calls or statuses) and not only:
        kinds = frozenset({PointKind.CALLS})
    if (calls or statuses) and PointKind.CALLS not in kinds:
        raise InputError("--call and --status say which calls to try: add --only calls")
    if most is not None and most < 1:
        raise InputError(f"--max: {most} points are none: give 1 or more")
    if each != "all" and not (each.isascii() and each.isdigit() and 1 <= len(each) <= 9):
        raise InputError(f"--each: {each[:40]!r} is no number: give 1 or more, or all")
    if each != "all" and int(each) < 1:
        raise InputError(f"--each: {each} points are none: give 1 or more, or all")
    try:
        codes = None if calls is None else frozenset(DECLARATIONS.find(each).code for each in calls)
    except InputError as error:
        raise InputError(f"--call: {error}") from None
    try:
        chosen = None if statuses is None else tuple(parse_status(each) for each in statuses)
    except InputError as error:
        raise InputError(f"--status: {error}") from None
    return Choice(
        kinds=kinds,
        calls=codes,
        statuses=chosen,
        each=None if each == "all" else int(each),
        delay_ns=parse_fault_time(delay, "--delay "),
        most=most,
    )


def _settings(
    choice: Choice,
    expect: list[str] | None,
    factor: float,
    limit: float,
    jobs: int | None,
) -> SweepSettings:
    from hypercall.faults.sweep import SweepSettings

    if not (factor >= 1 and math.isfinite(factor)):
        raise InputError(f"--factor: {factor:g} is not a number from 1 on")
    if jobs is not None and not 1 <= jobs <= _MOST_JOBS:
        raise InputError(f"--jobs: {jobs} is not between 1 and {_MOST_JOBS}")
    return SweepSettings(
        choice=choice,
        limit_ns=seconds_to_ns("--limit", limit),
        factor=factor,
        jobs=jobs,
        expected=tuple(expect or ()),
    )


def _check_output(output: Path, options: RunOptions, resume: bool) -> None:
    if output.suffix not in (".jsonl", ".csv"):
        raise InputError(f"-o: {output} says not what it is to be: end it in .jsonl or .csv")
    if resume and output.suffix != ".jsonl":
        raise InputError("--resume reads JSON lines: name a file that ends in .jsonl")
    inputs = [("image", options.image), ("initrd", options.initrd)]
    check_output_file(output, "-o", [(name, path) for name, path in inputs if path is not None])


class _Command:
    """One sweep of the command line."""

    def __init__(
        self,
        options: RunOptions,
        settings: SweepSettings,
        run: SweepRun,
        form: str,
        output: Path | None,
        resume: bool,
    ) -> None:
        self._options = options
        self._run = run
        self._form = form
        self._outputs: list[tuple[Output, str]] = []
        if resume:
            settings = replace(settings, known=self._resumed(output))
        self._settings = settings
        self._open(output, resume)
        self._started = time.monotonic()
        self._begun = 0.0
        self._shown = 0.0
        self._stop: Callable[[], None] = lambda: None

    def run(self, strict: bool) -> int:
        """Sweep, and return the exit code."""
        from hypercall.cli.exit_code import ExitCode
        from hypercall.cli.progress import Progress
        from hypercall.cli.signals import StopSignals
        from hypercall.faults.judgement import HARM, Outcome
        from hypercall.faults.sweep import Sweep

        line = Progress(sys.stderr)
        signals = StopSignals()
        sweep = Sweep(
            self._make,
            self._settings,
            on_row=self._write,
            on_progress=lambda progress: self._show(line.show, progress),
        )
        self._stop = sweep.stop
        try:
            with signals.ask(sweep.stop):
                rows = sweep.run()
        finally:
            line.clear()
            for output, _ in self._outputs:
                output.close()
        if self._form == "table" and rows:
            write_table(sys.stdout, self._run, rows)
            sys.stdout.flush()
        spent = f"In {time.monotonic() - self._started:.1f} s."
        sys.stderr.write(f"{outcome_line(rows)} {spent}\n")
        for output, _ in self._outputs:
            if output.failure is not None:
                if isinstance(output.failure, BrokenPipeError):
                    return ExitCode.READER_GONE
                reason = output.failure.strerror or output.failure
                sys.stderr.write(f"hypercall: cannot write {output.name}: {reason}\n")
                return ExitCode.OUTPUT_FAILED
        if signals.received is not None:
            done = f"{len(rows)} of {sweep.count} points" if sweep.count else "no point"
            sys.stderr.write(f"hypercall: interrupted with {done} done{self._hint()}\n")
            return 128 + signals.received
        outcomes = {row.outcome for row in rows}
        if Outcome.FAILED in outcomes:
            return ExitCode.INTERNAL_ERROR
        harm = HARM | ({Outcome.COMPLAINED} if strict else set())
        return ExitCode.GUEST_FAILED if outcomes & harm else ExitCode.PASSED

    def _hint(self) -> str:
        files = [output.name for output, form in self._outputs if form == "jsonl"]
        names = [name for name in files if name.endswith(".jsonl")]
        return f"; --resume -o {names[0]} goes on" if names else ""

    def _make(self) -> Machine:
        from hypercall.cli.guest import make_machine
        from hypercall.cli.session import load_guest
        from hypercall.machine.machine import Machine

        machine = make_machine(self._options)
        assert isinstance(machine, Machine)
        if self._options.origin == "image":
            load_guest(machine, self._options)
        return machine

    def _resumed(self, output: Path | None) -> dict[str, Row]:
        assert output is not None
        if not output.exists():
            return {}
        check_input_file(output, "earlier sweep")
        rows, whole = read_rows(output, self._run)
        with output.open("r+b") as file:
            file.truncate(whole)
        return rows

    def _open(self, output: Path | None, resume: bool) -> None:
        from hypercall.cli.outputs import open_output

        if self._form != "table":
            self._outputs.append((open_output("-", "output", "--format", self._end), self._form))
        if output is not None:
            opened = open_output(str(output), "output", "-o", self._end, append=resume)
            self._outputs.append((opened, output.suffix[1:]))
        for opened, form in self._outputs:
            opened.write_text(first_line(form))

    def _end(self) -> None:
        """Nobody takes what is found any more."""
        self._stop()

    def _write(self, row: Row) -> None:
        for output, form in self._outputs:
            output.write_text(row_text(self._run, row, form))
            output.flush()

    def _show(self, show: Callable[[str], None], progress: SweepProgress) -> None:
        now = time.monotonic()
        if now < self._shown + _SECONDS_BETWEEN:
            return
        self._shown = now
        seconds = f"{progress.virtual_ns / 1e9:.2f} s of virtual time"
        if not progress.points:
            show(f"without faults, {seconds}")
            return
        text = f"{progress.done} of {progress.points} points done"
        known = len(self._settings.known)
        self._begun = self._begun or now
        if progress.done > known:
            each = (now - self._begun) / (progress.done - known)
            text += f", about {each * (progress.points - progress.done):.0f} s left"
        show(f"{text}; at {seconds}")
