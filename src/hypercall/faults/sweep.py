"""The sweep: a run is tried once for each point where something could go wrong.

The guest runs three times in part. First without faults, to learn its points, its end and its
time. Then again, and at each point the process forks: the child meets the fault and runs to its
end, the parent goes on without. So everything up to the point is done once, and is the same for
all. What a child met, ``hypercall run --inject`` with the text of its fault meets as well.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hypercall.errors import HypercallError, InputError
from hypercall.faults.children import Children
from hypercall.faults.judgement import Baseline, Outcome
from hypercall.faults.points import Choice, Point, Recorder

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine
    from hypercall.machine.result import RunResult

Check = Callable[["Machine", "RunResult"], str | None]


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """How a sweep is done.

    Attributes:
        choice: which points are tried.
        limit_ns: the virtual time that the guest may take without faults.
        factor: a run with a fault may take so many times the virtual time of that without,
        least_ns: but at least this.
        jobs: how many runs go on at a time beside the one that they fork from.
        timeout: the seconds of host time that a run with a fault may take.
        expected: texts that the console must have, see `hypercall.faults.judgement.Baseline`.
        check: called with the machine at the end of each run that ended well; it returns what is
            wrong with the guest's data, or None. In a process of its own.
    """

    choice: Choice = field(default_factory=Choice)
    limit_ns: int = 300_000_000_000
    factor: float = 3.0
    least_ns: int = 1_000_000_000
    jobs: int = 2
    timeout: float = 600.0
    expected: tuple[str, ...] = ()
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one point.

    Attributes:
        number: counted from 1.
        fault: the fault's text, for ``--inject``.
        place: where the guest made the call, by name if there is one; None for a delivery.
        outcome: what the fault did.
        detail: how that shows, one line; may be empty.
        reason: the name of the `StopReason` of the run, or None if the tool failed.
        exit_code: what the guest wrote to the debug exit port, or None.
        virtual_ns: the virtual time at the end, or None if the tool failed.
    """

    number: int
    fault: str
    place: str | None
    outcome: Outcome
    detail: str
    reason: str | None = None
    exit_code: int | None = None
    virtual_ns: int | None = None


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
        on_row: called with each row, in the order of the points, as soon as it and all before it
            are there.
        on_progress: called now and then.

    Returns:
        The rows in the order of the points.

    Raises:
        InputError: the guest fails without faults, or there is no point to try.
    """
    return _Sweep(make, settings or SweepSettings(), on_row, on_progress).run()


class _Sweep:
    def __init__(
        self,
        make: Callable[[], Machine],
        settings: SweepSettings,
        on_row: Callable[[Row], None],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._make = make
        self._settings = settings
        self._on_row = on_row
        self._on_progress = on_progress
        self._children = Children(settings.jobs, settings.timeout, self._reported)
        self._points: list[Point] = []
        self._places: list[str | None] = []
        self._rows: dict[int, Row] = {}
        self._shown = 0
        self._forked = 0
        self._baseline: Baseline

    def run(self) -> list[Row]:
        self._learn()
        try:
            self._try()
            self._children.finish()
        finally:
            if self._children.own is not None:
                # Nothing of the parent's must ever happen in a child.
                os._exit(70)
            self._children.end()
        for number in range(len(self._points)):
            if number not in self._rows:
                self._reported(number, "the point did not come again; the run is not repeatable")
        return [self._rows[number] for number in range(len(self._points))]

    def _learn(self) -> None:
        """Run without faults, and find the points."""
        settings = self._settings
        machine, console = self._machine()
        recorder = Recorder(settings.choice.drops)
        machine.faults.observe(recorder.call, recorder.delivery if recorder.drops else None)
        machine.host_poll = self._poll(machine)
        result = machine.run(settings.limit_ns)
        self._baseline = Baseline(result, bytes(console), settings.expected)
        if settings.check is not None:
            complaint = settings.check(machine, result)
            if complaint is not None:
                raise InputError(f"even without faults the check complains: {complaint}")
        self._points = recorder.points(settings.choice)
        self._places = [
            None if point.place is None else machine.symbol(point.place) or f"{point.place:#x}"
            for point in self._points
        ]

    def _try(self) -> None:
        """Run again; fork at each point."""
        machine, console = self._machine()

        def confirm(number: int) -> Callable[[], bool]:
            def fork() -> bool:
                # A child has met its fault, and is to meet no other.
                if self._children.own is not None:
                    return False
                self._tell(machine)
                if self._children.fork(number):
                    machine.host_poll = None
                    return True
                self._forked += 1
                if self._forked == len(self._points):
                    machine.interrupt()
                return False

            return fork

        for number, point in enumerate(self._points):
            machine.faults.inject(point.fault, confirm=confirm(number))
        machine.host_poll = self._poll(machine)
        time = self._baseline.result.virtual_ns
        limit = max(int(time * self._settings.factor), self._settings.least_ns)
        try:
            result = machine.run(limit)
        except Exception as error:
            if self._children.own is None:
                raise
            self._children.report({"failed": _error_text(error)})
        if self._children.own is not None:
            self._report(machine, result, bytes(console))

    def _report(self, machine: Machine, result: RunResult, console: bytes) -> None:
        """In a child: tell the parent how the run ended."""
        try:
            complaint = None
            verdict = self._baseline.judge(result, console)
            if verdict.outcome is Outcome.SURVIVED and self._settings.check is not None:
                complaint = self._settings.check(machine, result)
                verdict = self._baseline.judge(result, console, complaint)
            report: dict[str, Any] = {
                "outcome": verdict.outcome.value,
                "detail": verdict.detail,
                "reason": result.reason.name,
                "exit_code": result.exit_code,
                "virtual_ns": result.virtual_ns,
            }
        except Exception as error:
            report = {"failed": _error_text(error)}
        self._children.report(report)

    def _machine(self) -> tuple[Machine, bytearray]:
        machine = self._make()
        console = bytearray()
        machine.console.output.append(console.extend)
        return machine, console

    def _reported(self, number: int, report: dict[str, Any] | str) -> None:
        """Make the row of a child's report, and show what can be shown."""
        if not isinstance(report, str) and "failed" in report:
            report = str(report["failed"])
        found: dict[str, Any]
        if isinstance(report, str):
            outcome, detail, found = Outcome.FAILED, report, {}
        else:
            outcome, detail = Outcome(report["outcome"]), report["detail"]
            found = {name: report[name] for name in ("reason", "exit_code", "virtual_ns")}
        fault, place = str(self._points[number].fault), self._places[number]
        self._rows[number] = Row(number + 1, fault, place, outcome, detail, **found)
        while self._shown in self._rows:
            self._on_row(self._rows[self._shown])
            self._shown += 1

    def _poll(self, machine: Machine) -> Callable[[float], bool]:
        def poll(seconds: float) -> bool:
            self._tell(machine)
            return False

        return poll

    def _tell(self, machine: Machine) -> None:
        self._on_progress(Progress(len(self._points), len(self._rows), machine.time_ns))


def _error_text(error: Exception) -> str:
    kind = "" if isinstance(error, HypercallError) else f"{type(error).__name__}: "
    return " ".join(f"{kind}{error}".split())[:200]
