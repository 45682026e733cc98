"""The sweep: a run is tried once for each point where something could go wrong.

The guest runs three times in part. First without faults, to learn its points, its end and its
time. Then again, and at each point the process forks: the child meets the fault and runs to its
end, the parent goes on without. So everything up to the point is done once, and is the same for
all. What a child met, ``hypercall run --inject`` with the text of its fault meets as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hypercall.checks.offers import MISSING_PRIVILEGE
from hypercall.checks.translations import STALE_TRANSLATION
from hypercall.errors import HypercallError
from hypercall.faults.children import Children
from hypercall.faults.fault import BufferFault, CpuidFault, Fault
from hypercall.faults.judgement import Baseline, Ending, Outcome
from hypercall.faults.points import Choice, Point, PointKind, Recorder
from hypercall.machine.result import StopReason
from hypercall.partition.run_state import RunState
from hypercall.trace.events import CpuidEvent

if TYPE_CHECKING:
    from hypercall.faults.armed import ArmedFault
    from hypercall.machine.machine import Machine
    from hypercall.machine.result import RunResult
    from hypercall.trace.events import Event

Check = Callable[["Machine", "RunResult"], str | None]

_MOST_PLACES = 4
_REPORTED = ("reason", "exit_code", "at_ns", "struck", "virtual_ns")
_NO_REPEAT = "the point did not come again; the run is not repeatable"


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """How a sweep is done.

    Attributes:
        choice: which points are tried.
        limit_ns: the virtual time that the guest may take without faults.
        factor: a run with a fault may take so many times the virtual time of that without,
        least_ns: but at least this.
        jobs: how many runs go on at a time; None for one on each of the host's processors.
        timeout: the seconds of host time that a run with a fault may take.
        expected: texts that the console must have, see `hypercall.faults.judgement.Baseline`.
        check: called with the machine at the end of each run that ended as it does without
            faults; it returns what is wrong with the guest's data, or None. In a process of its
            own.
        watch: whether the rules of ``hypercall.checks`` watch the guest.
        stale: whether they look for uses of old translations too.
        known: rows of an earlier sweep by the texts of their faults; those points are not tried.
    """

    choice: Choice = field(default_factory=Choice)
    limit_ns: int = 300_000_000_000
    factor: float = 3.0
    least_ns: int = 1_000_000_000
    jobs: int | None = None
    timeout: float = 600.0
    expected: tuple[str, ...] = ()
    check: Check | None = None
    watch: bool = True
    stale: bool = False
    known: Mapping[str, Row] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one point.

    Attributes:
        number: counted from 1.
        fault: the fault's text, for ``--inject``.
        place: where the guest made the call, by name if there is one; None where there is none.
        outcome: what the fault did.
        detail: how that shows, one line; may be empty.
        reason: the name of the `StopReason` of the run, or None if the tool failed.
        exit_code: what the guest wrote to the debug exit port, or None.
        at_ns: the virtual time at which the fault struck first, or None if it never did, or lies
            from the start.
        struck: how often the fault struck.
        virtual_ns: the virtual time at the end, or None if the tool failed.
        limit_ns: the virtual time that the run was given.
    """

    number: int
    fault: str
    place: str | None
    outcome: Outcome
    detail: str
    reason: str | None = None
    exit_code: int | None = None
    at_ns: int | None = None
    struck: int = 0
    virtual_ns: int | None = None
    limit_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is.

    Attributes:
        points: how many there are; 0 until the run without faults is done.
        done: how many have a row.
        virtual_ns: the virtual time of the run that is waited for.
    """

    points: int
    done: int
    virtual_ns: int


def sweep(
    make: Callable[[], Machine],
    settings: SweepSettings | None = None,
    *,
    on_row: Callable[[Row], None] = lambda row: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> list[Row]:
    """Try each point of a run.

    Args:
        make: makes a machine with its guest loaded; the same each time.
        settings: how.
        on_row: called with each new row, in the order of the points, as soon as it and all before
            it are there.
        on_progress: called now and then.

    Returns:
        The rows in the order of the points.

    Raises:
        InputError: the guest fails without faults, or there is no point to try.
    """
    return Sweep(make, settings, on_row=on_row, on_progress=on_progress).run()


class Sweep:
    """A sweep that can be stopped, see `sweep`.

    Attributes:
        stopped: whether `stop` was called.
    """

    def __init__(
        self,
        make: Callable[[], Machine],
        settings: SweepSettings | None = None,
        *,
        on_row: Callable[[Row], None] = lambda row: None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Prepare a sweep; the arguments are those of `sweep`."""
        self._make = make
        self._settings = settings = settings or SweepSettings()
        self._on_row = on_row
        self._on_progress = on_progress
        jobs = len(os.sched_getaffinity(0)) if settings.jobs is None else settings.jobs
        self._children = Children(jobs, settings.timeout, self._reported)
        self._running: Machine | None = None
        self._points: list[Point] = []
        self._places: list[str | None] = []
        self._rows: dict[int, Row] = {}
        self._new: set[int] = set()
        self._shown = 0
        self._left = 0
        self._limit = 0
        # In a child: its fault, and when it struck first.
        self._mine: ArmedFault | None = None
        self._at: int | None = None
        self._good: tuple[StopReason, int | None] | None = None
        self._baseline: Baseline
        self.stopped = False

    @property
    def count(self) -> int:
        """How many points there are; 0 until the run without faults is done."""
        return len(self._points)

    def stop(self) -> None:
        """Let `run` return soon with the rows that are there; may be called by a signal handler."""
        self.stopped = True
        self._children.stop()
        if self._running is not None:
            self._running.interrupt()

    def run(self) -> list[Row]:
        """Do it, once; see `sweep`."""
        try:
            if self._learn():
                self._try()
                self._children.finish()
        finally:
            if self._children.own is not None:
                # Nothing of the parent's must ever happen in a child.
                os._exit(70)
            self._children.end()
        if not self.stopped:
            for number in range(len(self._points)):
                if number not in self._rows:
                    self._reported(number, _NO_REPEAT)
        self._show(rest=True)
        return [self._rows[number] for number in sorted(self._rows)]

    def _learn(self) -> bool:
        """Run without faults, and find the points; return whether that was not stopped."""
        settings = self._settings
        machine, console = self._machine()
        choice = settings.choice
        recorder = Recorder(choice.kinds)
        machine.faults.observe(
            recorder.call, recorder.delivery if recorder.wants_deliveries else None
        )

        def read_cpuid(event: Event) -> None:
            assert isinstance(event, CpuidEvent)
            recorder.leaves.add(event.leaf)

        if PointKind.CPUID in choice.kinds:
            machine.trace.subscribe(read_cpuid, CpuidEvent)
        machine.host_poll = self._poll(machine)
        # It may go on from a snapshot.
        start = machine.time_ns
        result = self._run(machine, start + settings.limit_ns)
        if self.stopped:
            return False
        ending = self._ending(machine, result, console)
        self._baseline = Baseline(ending, settings.expected, start_ns=start)
        self._good = result.reason, result.exit_code
        most = max(int((result.virtual_ns - start) * settings.factor), settings.least_ns)
        self._limit = start + most
        self._points = recorder.points(choice, machine.partition.configuration)
        self._places = [
            None if point.place is None else machine.symbol(point.place) or f"{point.place:#x}"
            for point in self._points
        ]
        for number, point in enumerate(self._points):
            known = settings.known.get(str(point.fault))
            if known is not None:
                self._rows[number] = replace(known, number=number + 1)
        self._left = len(self._points) - len(self._rows)
        return True

    def _try(self) -> None:
        """Run again; fork at each point."""
        machine, console = self._machine()
        machine.host_poll = self._poll(machine)
        points = [
            (number, point.fault)
            for number, point in enumerate(self._points)
            if number not in self._rows
        ]
        constant = [each for each in points if isinstance(each[1], CpuidFault | BufferFault)]
        for number, fault in constant:
            # Such a fault is there from the start.
            if self._fork(number, machine):
                self._mine = machine.faults.inject(fault)
                break
        else:
            for number, fault in points:
                if (number, fault) not in constant:
                    self._arm(machine, number, fault)
            if len(constant) == len(points) or self.stopped:
                return
        try:
            result = self._run(machine, self._limit)
        except Exception as error:
            if self._children.own is None:
                raise
            self._children.report({"failed": _error_text(error)})
        if self._children.own is not None:
            self._report(machine, result, console)

    def _arm(self, machine: Machine, number: int, fault: Fault) -> None:
        """Arm a fault; where it is to strike, a child is made that meets it."""

        def confirm() -> bool:
            own = self._children.own
            if own is not None:
                return own == number
            if self._fork(number, machine):
                self._mine, self._at = armed, machine.time_ns
                # A child is to meet its own fault and no other.
                for each in machine.faults.armed:
                    if each is not armed:
                        each.disarm()
                return True
            armed.disarm()
            return False

        armed = machine.faults.inject(fault, confirm=confirm)

    def _fork(self, number: int, machine: Machine) -> bool:
        """Make the child of a point; return whether this is it."""
        self._tell(machine)
        if self._children.fork(number):
            machine.host_poll = self._watch_parent
            return True
        self._left -= 1
        if not self._left or self.stopped:
            machine.interrupt()
        return False

    def _watch_parent(self, seconds: float) -> bool:
        if self._children.orphaned:
            os._exit(1)
        return False

    def _run(self, machine: Machine, limit_ns: int) -> RunResult:
        self._running = machine
        if self.stopped:
            machine.interrupt()
        return machine.run(limit_ns)

    def _report(self, machine: Machine, result: RunResult, console: bytearray) -> None:
        """In a child: tell the parent how the run ended."""
        assert self._mine is not None
        try:
            verdict = self._baseline.judge(self._ending(machine, result, console))
            report: dict[str, Any] = {
                "outcome": verdict.outcome.value,
                "detail": verdict.detail,
                "reason": result.reason.name,
                "exit_code": result.exit_code,
                "at_ns": self._at,
                "struck": self._mine.struck,
                "virtual_ns": result.virtual_ns,
            }
        except Exception as error:
            report = {"failed": _error_text(error)}
        self._children.report(report)

    def _machine(self) -> tuple[Machine, bytearray]:
        machine = self._make()
        console = bytearray()
        machine.console.output.append(console.extend)
        if self._settings.watch:
            machine.check(stale=self._settings.stale)
        return machine, console

    def _ending(self, machine: Machine, result: RunResult, console: bytearray) -> Ending:
        machine.console.flush()
        found: list[str] = []
        damage: list[str] = []
        checks = machine.checks
        if checks is not None:
            checks.finish()
            # Whoever is promised in CPUID what is then refused breaks the rule without a mistake.
            lied = any(isinstance(each.fault, CpuidFault) for each in machine.faults.armed)
            for each in checks.failures:
                if lied and each.rule is MISSING_PRIVILEGE:
                    continue
                text = f"{each.rule.name} in {checks.place(each)}"
                (damage if each.rule is STALE_TRANSLATION else found).append(text)
        good = self._good
        complaint = None
        if self._settings.check is not None and good in (None, (result.reason, result.exit_code)):
            complaint = self._settings.check(machine, result)
        places = (
            _places(machine) if result.reason in (StopReason.LIMIT, StopReason.DEADLOCK) else ""
        )
        return Ending(result, bytes(console), tuple(found), tuple(damage), complaint, places)

    def _reported(self, number: int, report: dict[str, Any] | str) -> None:
        """Make the row of a child's report, and show what can be shown."""
        if not isinstance(report, str) and "failed" in report:
            report = str(report["failed"])
        found: dict[str, Any]
        if isinstance(report, str):
            outcome, detail, found = Outcome.FAILED, report, {}
        else:
            outcome, detail = Outcome(report["outcome"]), report["detail"]
            found = {name: report[name] for name in _REPORTED}
        fault, place = str(self._points[number].fault), self._places[number]
        self._rows[number] = Row(
            number + 1, fault, place, outcome, detail, limit_ns=self._limit, **found
        )
        self._new.add(number)
        self._show()

    def _show(self, *, rest: bool = False) -> None:
        """Show the new rows before which none is missing, or the rest that there is."""
        while self._shown < len(self._points):
            number = self._shown
            if number not in self._rows and not rest:
                break
            self._shown += 1
            if number in self._new:
                self._on_row(self._rows[number])

    def _poll(self, machine: Machine) -> Callable[[float], bool]:
        def poll(seconds: float) -> bool:
            self._tell(machine)
            return False

        return poll

    def _tell(self, machine: Machine) -> None:
        self._on_progress(Progress(len(self._points), len(self._rows), machine.time_ns))


def _places(machine: Machine) -> str:
    """Where the processors are that were started, in one line."""
    places = []
    runnable = machine.processors.runnable()
    for vp in machine.partition.processors:
        if vp.run_state is RunState.RUNNING:
            rip = machine.registers(vp.index)["rip"]
            what = "runs" if vp in runnable else "halted"
            places.append(f"VP {vp.index} {what} in {machine.symbol(rip) or f'{rip:#x}'}")
    more = f", and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
    return ", ".join(places[:_MOST_PLACES]) + more


def _error_text(error: Exception) -> str:
    kind = "" if isinstance(error, HypercallError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:200]
