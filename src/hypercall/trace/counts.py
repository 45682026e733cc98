"""What a trace holds, in numbers; and such numbers of a trace of JSON lines, without any event."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

from hypercall.trace.blocks import blocks, reads
from hypercall.trace.events import Event, HypercallEvent
from hypercall.trace.jsonl_scan import LineCounter
from hypercall.trace.kinds import EVENT_NAMES
from hypercall.trace.reading import LONGEST_LINE, MOST_DAMAGES, TraceReader
from hypercall.trace.statistics import Statistics


@dataclass(slots=True)
class TraceCounts:
    """What a trace holds, in numbers.

    Attributes:
        calls: the hypercalls by call and outcome; ``?`` where no result was recorded.
        records: how many records of each kind, those that occur.
        others: records of which nothing is made.
        span_ns: nanoseconds from the first record to the last.
        symbols: names of call sites.
    """

    calls: Statistics
    records: dict[str, int] = field(default_factory=dict)
    others: int = 0
    span_ns: int = 0
    symbols: dict[int, str] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Count one event by its kind, and a hypercall by call and outcome."""
        name = EVENT_NAMES[type(event)]
        self.records[name] = self.records.get(name, 0) + 1
        self.calls.count(event)


@dataclass(slots=True)
class LineCounts:
    """The numbers of a trace of JSON lines, and what of it could not be read.

    Attributes:
        counts: the numbers.
        damage: number of a line and what is wrong with it, of the first lines that are damaged.
        damaged: how many lines are.
    """

    counts: TraceCounts
    damage: list[tuple[int, str]] = field(default_factory=list)
    damaged: int = 0


def count_events(events: Iterable[Event], symbol: Callable[[int], str | None]) -> TraceCounts:
    """Count events, in their order of time.

    Args:
        events: the events.
        symbol: the name of a call site, or None; asked when all events were counted.
    """
    counts = TraceCounts(Statistics())
    first: int | None = None
    for event in events:
        counts.add(event)
        first = event.position.time_ns if first is None else first
        counts.span_ns = event.position.time_ns - first
    for counted in counts.calls.by_call():
        for site in counted.call_sites:
            name = None if site is None else symbol(site)
            if site is not None and name is not None:
                counts.symbols[site] = name
    return counts


def count_lines(stream: BinaryIO) -> LineCounts:
    """Count what a trace of JSON lines holds.

    Lines as the writer makes them are counted in native code; others are read as events, and so are
    those of other kinds than hypercalls.

    Args:
        stream: the trace; it need not be able to seek.

    Raises:
        InputError: the trace is of a newer format.
    """
    counter = LineCounter()
    found = LineCounts(TraceCounts(Statistics()))
    counts = found.counts
    first, last = (1 << 64) - 1, 0
    for block in blocks(reads(stream), LONGEST_LINE):
        if isinstance(block, int):
            counter.skip()
            _add_damage(found, counter.line, f"the line is longer than {LONGEST_LINE} bytes")
            continue
        others = counter.feed(block)
        if not others:
            continue
        reader = TraceReader(io.BytesIO(b"\n".join(line for _, line in others)))
        for event in reader:
            counts.add(event)
            first, last = min(first, event.position.time_ns), max(last, event.position.time_ns)
            site = event.position.call_site
            if site is not None and (symbol := reader.symbol(site)) is not None:
                counts.symbols.setdefault(site, symbol)
        for damage in reader.damages:
            _add_damage(found, others[damage.line - 1][0], damage.reason, 0)
        found.damaged += reader.damage_count
    _take_over(counts, counter)
    first, last = min(first, counter.first), max(last, counter.last)
    counts.span_ns = max(last - first, 0)
    return found


def _add_damage(found: LineCounts, line: int, reason: str, count: int = 1) -> None:
    found.damaged += count
    if len(found.damage) < MOST_DAMAGES:
        found.damage.append((line, reason))


def _take_over(counts: TraceCounts, counter: LineCounter) -> None:
    total = 0
    for code, status, fault, continued, site, count, reps, first, last, time in counter.counters():
        total += count
        counts.calls.add(
            code,
            status,
            None if fault is None else fault.decode("ascii", "replace"),
            continued=continued,
            call_site=site,
            count=count,
            reps=reps,
            first_ns=first,
            last_ns=last,
            total_ns=time,
        )
    if total:
        name = EVENT_NAMES[HypercallEvent]
        counts.records[name] = counts.records.get(name, 0) + total
    for site, symbol in counter.symbols.items():
        counts.symbols.setdefault(site, symbol.decode("ascii", "replace"))
