"""Gathers from the events of a run what its page shows, in room that does not grow with it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hypercall.abi.record import CallRecord
from hypercall.checks.code import disassembly
from hypercall.checks.finding import Finding
from hypercall.checks.recorded import RecordedChecks
from hypercall.coverage.coverage import Coverage
from hypercall.coverage.summary import coverage_summary
from hypercall.report.durations import Durations
from hypercall.report.kept import KeptRows
from hypercall.report.timeline import Timeline
from hypercall.trace.description import RunDescription
from hypercall.trace.events import (
    ConsoleEvent,
    CpuidEvent,
    Event,
    FindingEvent,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MessageEvent,
    MsrEvent,
    Position,
    VtlEvent,
)
from hypercall.trace.flows import FlowMatcher
from hypercall.trace.kinds import EVENT_NAMES
from hypercall.trace.reach import Purpose
from hypercall.trace.remembered import Remembered
from hypercall.trace.shown import event_line, show_call
from hypercall.trace.statistics import outcome_of

DEFAULT_ROWS = 20_000
MOST_ROWS = 500_000

_LONGEST_TEXT = 1500
_MOST_FINDINGS = 500
_MOST_CALL_ROWS = 500
_MOST_MATRIX = 64
_MOST_SITES = 5
_MOST_SITES_KEPT = 4096
_MOST_VECTORS = 256
_CONSOLE_BYTES = 512 << 10
_FAR_NS = 1 << 50
_KINDS = tuple(EVENT_NAMES.values())


@dataclass(slots=True)
class _CallText:
    """What is said of a call, apart from where and when it was made."""

    name: str
    outcome: str
    text: str
    problem: bool


class _CallRow:
    """All calls of one name and one outcome."""

    __slots__ = ("durations", "first_ns", "last_ns", "problem", "sites")

    def __init__(self, first_ns: int, problem: bool) -> None:
        self.first_ns = self.last_ns = first_ns
        self.problem = problem
        self.durations = Durations()
        self.sites: Counter[int] = Counter()


class Gathering:
    """What a page shows of a run; give it every event in its order.

    Args:
        description: what is known of the run.
        symbol: the name of a guest-virtual address, or None. It is asked at the end.
        rows: how many events are shown one by one.
    """

    def __init__(
        self,
        description: RunDescription,
        symbol: Callable[[int], str | None],
        rows: int = DEFAULT_ROWS,
    ) -> None:
        self._description = description
        self._symbol = symbol
        self._rows: KeptRows[tuple[Position, int, str, int | None, int, bool]] = KeptRows(rows)
        self._timeline = Timeline()
        self._flows = FlowMatcher(description.cpus)
        self._texts = Remembered(_call_text)
        self._kinds: Counter[str] = Counter()
        self._calls: dict[tuple[str, str], _CallRow] = {}
        self._matrices: dict[str, Counter[tuple[int, int]]] = {
            "interrupts": Counter(),
            "flushes": Counter(),
            "messages": Counter(),
        }
        self._arrivals: dict[int, Durations] = {}
        self._arrows: list[tuple[int, int, int, int]] = []
        self._most_arrows = rows
        self._checks = RecordedChecks(description, self._found)
        self._coverage = Coverage(description)
        self._resting: dict[int, int] = {}
        self._levels: dict[int, tuple[int, int]] = {}
        self._console: deque[bytes] = deque()
        self._console_size = 0
        self._console_cut = 0
        self._processors = description.cpus or 0

    def add(self, event: Event) -> None:
        """Take one event."""
        position = event.position
        kind = EVENT_NAMES[type(event)]
        self._kinds[kind] += 1
        self._timeline.saw(position.vp_index, position.time_ns)
        self._coverage.add(event)
        self._checks.feed(event)
        self._processors = max(self._processors, position.vp_index + 1)
        site: int | None = None
        duration = 0
        problem = False
        if isinstance(event, HypercallEvent):
            said = self._texts.of(event.record)
            # Traces of hosts do not tell where the guest was.
            site = (position.rip or None) if position.call_site is None else position.call_site
            duration = max(0, event.record.left_at - event.record.entered_at)
            problem = said.problem
            text = said.text
            self._add_call(event, said, site, duration)
        else:
            text = event_line(event)
            problem = self._add_other(event)
        if problem:
            self._timeline.count(position.vp_index, "problems", position.time_ns)
        if len(text) > _LONGEST_TEXT:
            text = text[:_LONGEST_TEXT] + "…"
        row = (position, _KINDS.index(kind), text, site, duration, problem)
        notable = problem or isinstance(event, MachineEvent | FindingEvent)
        self._rows.add(row, notable=notable)

    def _add_call(
        self, event: HypercallEvent, said: _CallText, site: int | None, duration: int
    ) -> None:
        position = event.position
        self._timeline.count(position.vp_index, "calls", position.time_ns)
        key = (said.name, said.outcome)
        row = self._calls.get(key)
        if row is None:
            # Codes that mean nothing have no end.
            if len(self._calls) >= _MOST_CALL_ROWS:
                key = ("other calls", "")
                row = self._calls.get(key)
            if row is None:
                row = self._calls[key] = _CallRow(position.time_ns, said.problem)
        row.last_ns = position.time_ns
        row.durations.add(duration)
        if site is not None and (site in row.sites or len(row.sites) < _MOST_SITES_KEPT):
            row.sites[site] += 1
        self._flows.called(event)
        reach = self._flows.reach(event)
        if reach is not None:
            name = "flushes" if reach.purpose is Purpose.FLUSH else "interrupts"
            matrix = self._matrices[name]
            sender = position.vp_index
            for receiver in reach.indexes(min(max(self._processors, 1), _MOST_MATRIX)):
                if sender < _MOST_MATRIX:
                    matrix[sender, receiver] += 1

    def _add_other(self, event: Event) -> bool:
        """Take an event that is no call; returns whether it is a problem."""
        position = event.position
        vp_index, now = position.vp_index, position.time_ns
        match event:
            case InterruptEvent(vector=vector):
                self._timeline.count(vp_index, "interrupts", now)
                for flow in self._flows.arrived(event):
                    durations = self._arrivals.get(vector)
                    if durations is None and len(self._arrivals) < _MOST_VECTORS:
                        durations = self._arrivals[vector] = Durations()
                    if durations is not None:
                        durations.add(now - flow.sent_ns)
                    if len(self._arrows) < self._most_arrows:
                        self._arrows.append((flow.sent_ns, flow.sender, now, vp_index))
            case MessageEvent(target_vp=receiver):
                self._timeline.count(vp_index, "messages", now)
                self._flows.delivered(event)
                if max(vp_index, receiver) < _MOST_MATRIX:
                    self._matrices["messages"][vp_index, receiver] += 1
                    self._processors = max(self._processors, receiver + 1)
            case MsrEvent(fault=fault):
                self._timeline.count(vp_index, "registers", now)
                return fault
            case CpuidEvent():
                self._timeline.count(vp_index, "registers", now)
            case HaltEvent(halted=True):
                self._resting.setdefault(vp_index, now)
            case HaltEvent():
                since = self._resting.pop(vp_index, None)
                if since is not None:
                    self._timeline.spent(vp_index, "resting", since, now)
            case VtlEvent(entered=entered):
                self._end_level(vp_index, now)
                if entered:
                    self._levels[vp_index] = (entered, now)
            case ConsoleEvent(data=data):
                self._add_console(data)
            case FindingEvent(severity=severity):
                return severity == "error"
            case MachineEvent():
                self._timeline.count(vp_index, "machine", now)
        return False

    def _end_level(self, vp_index: int, now: int) -> None:
        level = self._levels.pop(vp_index, None)
        if level is not None:
            self._timeline.spent(vp_index, f"vtl{level[0]}", level[1], now)

    def _add_console(self, data: bytes) -> None:
        self._console.append(data)
        self._console_size += len(data)
        while self._console_size > _CONSOLE_BYTES:
            old = self._console.popleft()
            rest = old[self._console_size - _CONSOLE_BYTES :]
            self._console_cut += len(old) - len(rest)
            self._console_size -= len(old) - len(rest)
            if rest:
                self._console.appendleft(rest)

    def _found(self, finding: Finding) -> None:
        position = finding.position
        self._timeline.count(position.vp_index, "findings", position.time_ns)

    # --- the result ------------------------------------------------------------------------------

    def as_dictionary(self, notes: Iterable[str] = ()) -> dict[str, Any]:
        """Return everything for the page, made of what JSON knows.

        Args:
            notes: sentences about the run or its file that the page shows at the top.
        """
        timeline = self._timeline
        self._checks.finish()
        for vp_index, since in self._resting.items():
            timeline.spent(vp_index, "resting", since, timeline.end_ns)
        self._resting.clear()
        for vp_index in list(self._levels):
            self._end_level(vp_index, timeline.end_ns)
        start = timeline.start_ns or 0
        # Scripts count exactly to 2**53 only; traces of other clocks may be far from 0.
        origin = start if start >= _FAR_NS else 0
        notes = list(notes)
        if origin:
            notes.append(f"Times are counted from the first event, at {origin} ns.")
        strings = _Strings()
        rows = [
            [
                number,
                position.time_ns - origin,
                position.vp_index,
                position.vtl,
                kind,
                strings.number(text),
                -1 if site is None else strings.number(self._place(site)),
                duration,
                int(problem),
            ]
            for number, (position, kind, text, site, duration, problem) in self._rows
        ]
        return {
            "description": self._description.as_dictionary(),
            "notes": notes,
            "start": start - origin,
            "end": timeline.end_ns - origin,
            "processors": self._processors,
            "total": self._rows.total,
            "kinds": dict(self._kinds),
            "kindNames": list(_KINDS),
            "calls": self._call_rows(origin),
            "arrivals": [
                {"vector": vector, **_summary(durations)}
                for vector, durations in sorted(
                    self._arrivals.items(), key=lambda item: (-item[1].count, item[0])
                )
            ],
            "arrows": [
                [sent - origin, sender, arrived - origin, receiver]
                for sent, sender, arrived, receiver in self._arrows
            ],
            "matrices": {
                name: [[*pair, count] for pair, count in sorted(matrix.items())]
                for name, matrix in self._matrices.items()
            },
            "matrixSize": min(self._processors, _MOST_MATRIX),
            "timeline": {
                "width": timeline.width_ns,
                "leftOut": timeline.left_out,
                "lanes": [
                    {
                        "vp": vp_index,
                        "first": lane.first_ns - origin,
                        "counts": lane.counts,
                        "times": lane.times,
                    }
                    for vp_index, lane in sorted(timeline.lanes.items())
                ],
            },
            **self._finding_rows(origin),
            "coverage": self._covered(),
            "console": b"".join(self._console).decode("utf-8", "replace").replace("\r\n", "\n"),
            "consoleCut": self._console_cut,
            "strings": strings.texts,
            "rows": rows,
        }

    def _covered(self) -> dict[str, Any] | None:
        # From calls alone one cannot tell what a guest does not use.
        seen = self._kinds["msr"] or self._kinds["cpuid"]
        return coverage_summary(self._coverage, self._symbol) if seen else None

    def _place(self, address: int) -> str:
        return self._symbol(address) or f"{address:#x}"

    def _finding_rows(self, origin: int) -> dict[str, Any]:
        found = self._checks.findings
        shown = found[:_MOST_FINDINGS]
        return {
            "findings": [
                {
                    "rule": each.rule.name,
                    "severity": each.rule.severity.value,
                    "text": each.text,
                    "count": each.count,
                    "first_ns": each.position.time_ns - origin,
                    "vp": each.position.vp_index,
                    "vtl": each.position.vtl,
                    "site": self._place(each.address) if each.address else "",
                    "why": each.rule.why,
                    "section": each.rule.section,
                    "code": disassembly(each) if each.code else [],
                }
                for each in shown
            ],
            "findingsLeftOut": len(found) - len(shown) + self._checks.left_out,
            "unchecked": [
                {
                    "reason": each.reason,
                    "rules": [rule.name for rule in each.rules],
                    "inPart": each.in_part,
                }
                for each in self._checks.unchecked
            ],
        }

    def _call_rows(self, origin: int) -> list[dict[str, Any]]:
        rows = [
            {
                "name": name,
                "outcome": outcome,
                "problem": row.problem,
                "first": row.first_ns - origin,
                "last": row.last_ns - origin,
                "sites": [
                    [self._place(site), count]
                    for site, count in sorted(
                        row.sites.items(), key=lambda item: (-item[1], item[0])
                    )[:_MOST_SITES]
                ],
                "moreSites": max(0, len(row.sites) - _MOST_SITES),
                **_summary(row.durations),
            }
            for (name, outcome), row in self._calls.items()
        ]
        return sorted(rows, key=lambda row: (-row["count"], row["name"], row["outcome"]))


class _Strings:
    """Texts, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        """Return the place of a text in the list."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.texts)
            self.texts.append(text)
        return number


def _summary(durations: Durations) -> dict[str, Any]:
    return {
        "count": durations.count,
        "least": durations.least,
        "mean": round(durations.mean, 1),
        "median": durations.below(0.5),
        "p99": durations.below(0.99),
        "most": durations.most,
        "total": durations.total,
    }


def _call_text(record: CallRecord) -> _CallText:
    shown = show_call(record)
    status = None if record.result is None or record.continued else record.result & 0xFFFF
    problem = bool(status) or record.fault == "#UD"
    return _CallText(shown.name, outcome_of(record), shown.line, problem)
