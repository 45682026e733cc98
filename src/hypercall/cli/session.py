"""One run of a guest from the command line: everything between checked options and an exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hypercall.cli import guest
from hypercall.cli.console import ConsoleInput, raw_terminal
from hypercall.cli.exit_code import ExitCode, exit_code_of
from hypercall.cli.faults import inject_faults, write_faults
from hypercall.cli.findings import attach_checks, checks_told, write_findings
from hypercall.cli.guest import GdbServer, GuestMachine, MachineMaker, RunOptions
from hypercall.cli.inputs import (
    check_input_file,
    check_new_file,
    check_output_file,
    reason_of,
)
from hypercall.cli.outputs import Output, open_output
from hypercall.cli.progress import Progress
from hypercall.cli.recording import record_run
from hypercall.cli.signals import StopSignals
from hypercall.cli.summary import UNFINISHED, write_processors, write_summary
from hypercall.errors import InputError
from hypercall.machine.result import RunResult, StopReason
from hypercall.trace.last_seen import LastSeen
from hypercall.trace.statistics import Statistics

if TYPE_CHECKING:
    from hypercall.recording.moment import Moment

_SECONDS_BETWEEN_POLLS = 0.02


def run_guest(
    options: RunOptions,
    make: MachineMaker | None = None,
    judge: Callable[[RunResult], ExitCode] = exit_code_of,
) -> int:
    """Load and run a guest as the options say, and tell how it went.

    Args:
        options: what the user asked for.
        make: makes the machine; the real one by default.
        judge: gives the exit code for a run that nothing else ended.

    Returns:
        The exit code, see :class:`~hypercall.cli.exit_code.ExitCode`; 128 plus the number of the
        signal if SIGTERM or SIGHUP ended the run.

    Raises:
        InputError: the options or the files they name are no good. Then no output was touched,
            except where the last of several could not be opened.
    """
    _check_files(options)
    shown = options.console == "-"
    progress = Progress(sys.stderr, wanted=not shown and options.trace != "-")
    progress.show("making the machine ...")
    try:
        machine = (make or guest.make_machine)(options)
        append = ""
        if options.origin == "image":
            progress.show(f"loading {options.image.name if options.image else 'the tour'} ...")
            append = load_guest(machine, options)
        session = _Session(options, machine, progress)
        if options.record is not None:
            session.record = record_run(machine, options, append)
        return session.run(judge)
    finally:
        progress.clear()


def load_guest(machine: GuestMachine, options: RunOptions) -> str:
    """Load the guest that the options name.

    Returns:
        The command line that it got.

    Raises:
        InputError: it cannot be loaded.
    """
    if options.image is None:
        # Not at the top: it has the image in it.
        from hypercall.tour import tour_image

        machine.load(tour_image(), image_format="flat", name="tour")
        return ""
    try:
        append = options.append
        if append is None:
            append = default_append(options.image)
        machine.load(options.image, options.initrd, append, entry=options.entry)
        return append
    except OSError as error:
        # The files could be opened a moment ago.
        name = error.filename or options.image
        raise InputError(f"cannot read {name}: {reason_of(error)}") from error


def default_append(image: Path) -> str:
    """Return the command line that an image gets if the user gives none.

    Linux writes to no serial port unless told to; nothing else knows what to do with that.

    Raises:
        OSError: the image cannot be read.
        InputError: it is a damaged ELF file.
    """
    from hypercall.machine.loaders.bzimage import is_bzimage
    from hypercall.machine.loaders.elf_image import ELF_MAGIC, parse_elf
    from hypercall.machine.loaders.image_reader import ImageReader
    from hypercall.machine.loaders.vmlinux import is_vmlinux

    if not image.is_file():
        # A pipe can be read but once, and that is the loader's.
        return ""
    data = image.read_bytes()
    reader = ImageReader(data, str(image))
    linux = (
        is_vmlinux(reader, parse_elf(reader))
        if data.startswith(ELF_MAGIC)
        else (is_bzimage(reader))
    )
    return "console=ttyS0" if linux else ""


def _for_terminal(output: Output) -> Callable[[bytes], None]:
    """Return a way to write a serial console to a terminal that ends lines by itself."""

    def write(data: bytes) -> None:
        output.write(data.replace(b"\r\n", b"\n"))

    return write


def _check_files(options: RunOptions) -> None:
    files = [] if options.image is None else [("image", options.image)]
    if options.initrd is not None:
        files.append(("initrd", options.initrd))
    for what, path in files:
        check_input_file(path, what)
    if options.console != "-":
        check_output_file(Path(options.console), "--console", files)
        files.append(("console file", Path(options.console)))
    if options.trace not in (None, "-"):
        check_output_file(Path(str(options.trace)), "--trace", files)
        files.append(("trace", Path(str(options.trace))))
    if options.coverage not in (None, "-"):
        check_output_file(Path(str(options.coverage)), "--coverage", files)
        files.append(("coverage", Path(str(options.coverage))))
    for option, written in (("--save", options.save), ("--record", options.record)):
        if written is not None:
            check_output_file(written, option, files)
            check_new_file(written, option)
            files.append((f"file of {option}", written))
    if options.debug_channel is not None and options.debug_channel.startswith("file:"):
        place = Path(options.debug_channel.removeprefix("file:"))
        check_output_file(place, "--debug-channel", files)


class _Session:
    """A loaded machine with its outputs and inputs around it."""

    def __init__(self, options: RunOptions, machine: GuestMachine, progress: Progress) -> None:
        self._options = options
        self._machine = machine
        self._progress = progress
        self._statistics = Statistics()
        self._last_seen = LastSeen()
        self._faults = inject_faults(machine, options.inject)
        self._signals = StopSignals()
        self._outputs: list[Output] = []
        self._input: ConsoleInput | None = None
        self._waits = False
        self._next_poll = 0.0
        self._at_moment = False
        self._not_kept: list[str] = []
        self._missed: str | None = None
        self.record: Callable[[RunResult | None], None] = lambda result: None

    def run(self, judge: Callable[[RunResult], ExitCode]) -> int:
        options, machine = self._options, self._machine
        with contextlib.ExitStack() as stack:
            # Registered first, so done last: whatever happens, what was traced is written.
            stack.callback(self._close_outputs)
            console = self._open(options.console, "output", "--console")
            machine.console.output.append(
                _for_terminal(console) if console.is_terminal else console.write
            )
            self._statistics.attach(machine.trace)
            self._last_seen.attach(machine.trace)
            if options.trace is not None:
                self._attach_trace(options.trace)
            coverage = self._attach_coverage(options.coverage)
            # After the trace, so that a finding stands behind the event that it is about.
            attach_checks(machine, options.check, stale=options.check_stale)
            self._attach_input(stack)
            if options.debug_channel is not None:
                self._connect_debugger(options.debug_channel, stack)
            machine.host_poll = self._poll
            stack.enter_context(self._signals.ask(self._stop))
            result = self._run_machine(stack)
            if options.save is not None and self._missed is None:
                self._keep(functools.partial(machine.save, options.save))
            # Whoever stopped it wants to see how far it came.
            machine.console.flush()
            coverage()
            findings = [] if options.check == "off" else machine.check().finish()
        self._progress.clear()
        if options.image is not None or result.reason is not StopReason.DEBUG_EXIT:
            # The tour itself has said what came of each call.
            write_summary(sys.stderr, result, self._statistics, machine.symbol)
        if result.reason in UNFINISHED:
            write_processors(
                sys.stderr, machine.processor_states(), self._last_seen, machine.symbol
            )
        write_faults(sys.stderr, self._faults)
        write_findings(sys.stderr, findings, lambda finding: machine.check().place(finding))
        code = judge(result)
        if options.check == "strict" and code is ExitCode.PASSED and machine.check().failures:
            code = ExitCode.GUEST_FAILED
        if self._missed is not None:
            sys.stderr.write(f"hypercall: --stop-at: {self._missed}\n")
            code = code if code is ExitCode.INTERRUPTED else ExitCode.BAD_INPUT
        return self._exit_code(code)

    def _run_machine(self, stack: contextlib.ExitStack) -> RunResult:
        options, machine = self._options, self._machine
        result = server = None
        try:
            if options.gdb is not None:
                server = self._serve_gdb(options.gdb, stack)
            if options.stop_at is not None:
                result = self._run_to_moment(options.stop_at, server)
            if server is not None and (result is None or self._at_moment):
                self._progress.clear()
                sys.stderr.write(f"The guest waits for gdb: target remote {server.place}\n")
                sys.stderr.flush()
                result = server.run(options.limit_ns)
            if result is None:
                result = machine.run(options.limit_ns)
        finally:
            self._keep(functools.partial(self.record, result))
        return result

    def _keep(self, write: Callable[[], None]) -> None:
        """Write a file of the run; what else there is to tell does not get lost if it cannot be."""
        try:
            write()
        except InputError as error:
            self._not_kept.append(str(error))

    def _serve_gdb(self, place: str, stack: contextlib.ExitStack) -> GdbServer:
        try:
            server = self._machine.serve_gdb(place)
        except InputError as error:
            raise InputError(f"--gdb: {error}") from None
        stack.callback(server.close)
        return server

    def _run_to_moment(self, moment: Moment, server: GdbServer | None) -> RunResult:
        """Run to the moment at which to stop, or for gdb to go on from."""
        # Not at the top: few runs need it.
        from hypercall.recording.moment import run_to_moment

        limit = self._options.limit_ns
        if server is None:
            result, self._at_moment = run_to_moment(self._machine, moment, limit)
        else:
            result, self._at_moment = server.run_to(moment, limit)
        if not self._at_moment and result.reason is not StopReason.PAUSED:
            calls = f"{self._statistics.total:,} call{'s' if self._statistics.total != 1 else ''}"
            self._missed = (
                f"{moment} never came: the run ended at {result.virtual_ns / 1e9:.9f} s after"
                f" {calls}; name an earlier moment"
            )
        return result

    def _open(self, target: str, standard: str, option: str) -> Output:
        output = open_output(target, standard, option, self._stop)
        self._outputs.append(output)
        return output

    def _attach_trace(self, target: str) -> None:
        # Not at the top: decoding brings all declarations along, and is not always wanted.
        from hypercall.trace.jsonl import JsonLinesWriter
        from hypercall.trace.kinds import parse_kinds
        from hypercall.trace.perfetto import PerfettoWriter
        from hypercall.trace.strace import StraceWriter

        output = self._open(target, "error", "--trace")
        machine = self._machine
        options = self._options
        kinds = parse_kinds(options.trace_events)
        told = checks_told(options.check, options.check_stale, kinds)
        description = dataclasses.replace(machine.describe(), checks=told)
        writer: JsonLinesWriter | PerfettoWriter | StraceWriter
        if self._options.trace_format == "jsonl":
            writer = JsonLinesWriter(output.write_text, machine.symbol, description)
        elif self._options.trace_format == "perfetto":
            writer = PerfettoWriter(output.write, machine.symbol, description)
        else:
            writer = StraceWriter(output.write_text, machine.symbol)
        writer.attach(machine.trace, *kinds)

    def _attach_coverage(self, target: str | None) -> Callable[[], None]:
        """Count from now on; the result writes what was counted."""
        if target is None:
            return lambda: None
        # Not at the top: it brings all declarations along, and is not always wanted.
        from hypercall.cli.coverage import coverage_text
        from hypercall.coverage.coverage import Coverage

        output = self._open(target, "error", "--coverage")
        machine = self._machine
        coverage = Coverage(machine.describe())
        coverage.attach(machine.trace)
        as_json = target.endswith(".json")

        def write() -> None:
            if target == "-":
                self._progress.clear()
            output.write_text(coverage_text(coverage, machine.symbol, as_json=as_json))

        return write

    def _connect_debugger(self, place: str, stack: contextlib.ExitStack) -> None:
        try:
            connection = self._machine.connect_debugger(place)
        except InputError as error:
            raise InputError(f"--debug-channel: {error}") from None
        stack.callback(connection.close)
        if connection.receives:
            self._progress.clear()
            sys.stderr.write(f"The debug channel listens at {connection.place}.\n")

    def _attach_input(self, stack: contextlib.ExitStack) -> None:
        descriptor = None
        # The tour listens to nobody, and a recorded run to what it listened to then.
        listens = self._options.image is not None and self._options.origin != "recording"
        if self._options.console == "-" and listens:
            # Standard input may be closed, or replaced by something that is not a file.
            with contextlib.suppress(AttributeError, OSError, ValueError):
                descriptor = sys.stdin.fileno()
        self._input = ConsoleInput(descriptor, self._machine.console.feed, self._machine.interrupt)
        stack.callback(self._input.close)
        self._input.feed_file()
        # Somebody at a terminal lives in real time, and so does a guest with the host's time. Else
        # nobody waits for a guest that does nothing: its time jumps ahead.
        self._waits = self._input.interactive or self._options.time == "host"
        if self._input.interactive and descriptor is not None:
            sys.stderr.write("The console is yours; Ctrl-A h shows the keys, Ctrl-A x leaves.\n")
            stack.enter_context(raw_terminal(descriptor))

    def _stop(self) -> None:
        self._machine.interrupt()
        if self._input is not None:
            self._input.wake()

    def _poll(self, seconds: float) -> bool:
        """Do what has to be done now and then, and wait if the machine has nothing to do."""
        now = time.monotonic()
        waits = self._waits and seconds > 0
        if now < self._next_poll and not waits:
            # A machine asks after every turn, thousands of times a second.
            return False
        self._next_poll = now + _SECONDS_BETWEEN_POLLS
        # What was written so far should be seen by whoever follows the files.
        for output in self._outputs:
            output.flush()
        self._progress.show_run(self._machine.time_ns, self._statistics.total)
        if self._input is None:
            return False
        return self._input.poll(seconds if waits else 0.0)

    def _close_outputs(self) -> None:
        for output in self._outputs:
            output.close()

    def _exit_code(self, code: ExitCode) -> int:
        for output in self._outputs:
            if isinstance(output.failure, BrokenPipeError):
                return ExitCode.READER_GONE
            if output.failure is not None:
                reason = reason_of(output.failure)
                sys.stderr.write(f"hypercall: cannot write {output.name}: {reason}\n")
                return ExitCode.OUTPUT_FAILED
        for text in self._not_kept:
            sys.stderr.write(f"hypercall: {text}\n")
            code = ExitCode.OUTPUT_FAILED
        if code is ExitCode.INTERRUPTED and self._signals.received is not None:
            return 128 + self._signals.received
        return code
