"""What the command needs of a machine; behind this boundary tests put a machine of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from hypercall.errors import InputError
from hypercall.machine.result import RunResult
from hypercall.trace.description import RunDescription
from hypercall.trace.hub import TraceHub

if TYPE_CHECKING:
    from hypercall.checks.finding import Finding
    from hypercall.machine.processor_state import ProcessorState
    from hypercall.recording.moment import Moment

Entry = Literal["vmlinux", "decompressor"]
"""Where a bzImage is entered."""

Origin = Literal["image", "snapshot", "recording"]
"""What a machine begins from: an image that is loaded (or the tour), the state of another machine,
or the beginning of a recorded run."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of ``hypercall run``, checked as far as that needs no machine.

    Attributes:
        image: the guest's image, or the snapshot or recording; None for the tour.
        origin: which of these it is.
        initrd: the initial RAM disk, or None.
        append: the kernel's command line; None for one that shows the console, if it is Linux.
        cpus: the number of virtual processors, 1 to 64.
        memory: guest memory in bytes.
        seed: varies the turns of the virtual processors.
        shuffle_vp_index: varies which VP index has which APIC id; None for equal ones.
        time: ``"virtual"`` or ``"host"``.
        like: the name of a reading set.
        privileges: what the partition may do and has, as users write it.
        entry: ``"vmlinux"`` or ``"decompressor"``: where a bzImage is entered.
        limit_ns: virtual time after which to stop, in nanoseconds, or None.
        trace: where the trace goes: a path, ``-`` for the standard error, or None.
        trace_format: ``"strace"``, ``"jsonl"`` or ``"perfetto"``.
        trace_events: which events the trace has, as users write it.
        coverage: where the coverage of enlightenments goes: a path, ``-`` for the standard error,
            or None.
        console: where the console goes: a path, or ``-`` for the standard output.
        debug_channel: where the debug channel is carried to, or None.
        gdb: where gdb is served, or None.
        inject: the faults to inject, as users write them.
        check: ``"warn"``, ``"strict"`` or ``"off"``.
        check_stale: whether to look for uses of old translations too.
        stop_at: the moment at which to stop, or None.
        save: where a snapshot of the machine goes where the run stops, or None.
        record: where the recording of the run goes, or None.
    """

    image: Path | None
    origin: Origin = "image"
    initrd: Path | None = None
    append: str | None = None
    cpus: int = 1
    memory: int = 256 << 20
    seed: int = 0
    shuffle_vp_index: int | None = None
    time: str = "virtual"
    like: str = "hyperv"
    privileges: str = "default"
    entry: Entry = "vmlinux"
    limit_ns: int | None = None
    trace: str | None = None
    trace_format: str = "strace"
    trace_events: str = "calls"
    coverage: str | None = None
    console: str = "-"
    debug_channel: str | None = None
    gdb: str | None = None
    inject: tuple[str, ...] = ()
    check: str = "warn"
    check_stale: bool = False
    stop_at: Moment | None = None
    save: Path | None = None
    record: Path | None = None


class GuestConsole(Protocol):
    """The guest's first serial port."""

    @property
    def output(self) -> list[Callable[[bytes], None]]:
        """Called with every piece of what the guest writes."""

    def feed(self, data: bytes) -> None:
        """Have the guest receive bytes, as soon as it can take them."""

    def flush(self) -> None:
        """Write what the guest has not finished to write."""


class DebugConnection(Protocol):
    """What carries the debug channel."""

    place: str
    """Where the debugger finds it."""
    receives: bool
    """Whether a debugger can connect."""

    def close(self) -> None:
        """Carry what is left and let the place go."""


class InjectedFault(Protocol):
    """A fault that was injected; its text is the one that users write."""

    @property
    def seen(self) -> int:
        """How many occurrences fitted it."""

    @property
    def struck(self) -> int:
        """How often it struck."""


class GuestChecks(Protocol):
    """What watches a guest for mistakes."""

    @property
    def on_new(self) -> list[Callable[[Finding], None]]:
        """Called with each finding when it is new."""

    @property
    def failures(self) -> list[Finding]:
        """The findings that are more than advice."""

    def finish(self) -> list[Finding]:
        """Report what shows only at the end of a run; return all findings."""

    def place(self, finding: Finding) -> str:
        """Return the guest's name for the place of a finding, or its address."""


class GdbServer(Protocol):
    """What runs the machine under the control of a gdb."""

    place: str
    """Where gdb finds it."""

    def run_to(self, moment: Moment, limit_ns: int | None = None) -> tuple[RunResult, bool]:
        """Run to a moment without gdb; whether it has come, too."""

    def run(self, limit_ns: int | None = None) -> RunResult:
        """Run as gdb says until the guest ends or the virtual time reaches the limit."""

    def close(self) -> None:
        """Let gdb and the place go."""


class GuestMachine(Protocol):
    """A machine that can be loaded and run."""

    host_poll: Callable[[float], bool] | None
    """Called between turns, every few milliseconds of host time, with 0.0; and when every virtual
    processor is halted, with the seconds of virtual time until the next timer (infinity if there
    is none). It may take that long, and tells whether the guest got input meanwhile."""

    @property
    def trace(self) -> TraceHub:
        """Where to subscribe to events."""

    @property
    def console(self) -> GuestConsole:
        """The console."""

    @property
    def time_ns(self) -> int:
        """The virtual time in nanoseconds."""

    def load(
        self,
        image: Path | bytes,
        initrd: Path | None = None,
        append: str = "",
        *,
        entry: Entry = "vmlinux",
        image_format: Literal["auto", "flat"] = "auto",
        name: str | None = None,
    ) -> None:
        """Load an image; InputError if it is none."""

    def check(self, *, stale: bool = False) -> GuestChecks:
        """Watch the guest by the rules of ``hypercall checks``; ``stale`` its translations too."""

    def pause(self) -> None:
        """Make :meth:`run` return before the next block of code."""

    def save(self, path: Path) -> None:
        """Write the state to a file; InputError if it cannot be."""

    def connect_debugger(self, place: str) -> DebugConnection:
        """Carry the debug channel to a place on the host; InputError if it cannot be had."""

    def inject(self, fault: str) -> InjectedFault:
        """Inject a fault; InputError if the machine has nothing that it names."""

    def serve_gdb(self, place: str) -> GdbServer:
        """Let gdb debug what is loaded; InputError if the place cannot be had."""

    def run(self, limit_ns: int | None = None) -> RunResult:
        """Run until the guest ends or the virtual time reaches the limit."""

    def interrupt(self) -> None:
        """Make :meth:`run` return soon, with INTERRUPTED; may be called by a signal handler."""

    def describe(self) -> RunDescription:
        """Return what a trace tells of the run as a whole."""

    def processor_states(self) -> list[ProcessorState]:
        """Return what each virtual processor does and where."""

    def symbol(self, address: int) -> str | None:
        """Return ``name+0x1a`` for a guest-virtual address where it is known."""


MachineMaker = Callable[[RunOptions], GuestMachine]
"""Makes the machine that the options ask for; InputError if there can be none."""


def origin_of(image: Path | None) -> Origin:
    """Tell an image from a snapshot.

    Raises:
        InputError: it is a recording, which has a command of its own.
    """
    if image is None or not image.is_file():
        return "image"
    # Not at the top, so that the other commands start quickly.
    from hypercall.recording.recording import is_recording
    from hypercall.snapshot.snapshot_file import is_snapshot

    if is_recording(image):
        raise InputError(f"{image} is a recording: do it again with `hypercall replay {image}`")
    return "snapshot" if is_snapshot(image) else "image"


def make_machine(options: RunOptions) -> GuestMachine:
    """Make the real machine, or one in the state of a snapshot."""
    # Not at the top: it takes a moment, and most of what is wrong with a command line shows before.
    from hypercall.machine.configuration import MachineConfiguration
    from hypercall.machine.machine import Machine

    if options.origin == "snapshot":
        assert options.image is not None
        return Machine.from_snapshot(options.image)
    return Machine(
        MachineConfiguration(
            cpus=options.cpus,
            memory=options.memory,
            seed=options.seed,
            time=options.time,
            like=options.like,
            shuffle_vp_index=options.shuffle_vp_index,
            privileges=options.privileges,
        )
    )
