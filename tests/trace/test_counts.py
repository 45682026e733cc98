import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.abi.record import CallRecord
from hypercall.errors import InputError
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.counts import LineCounts, count_events, count_lines
from hypercall.trace.events import (
    Event,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    Position,
)
from hypercall.trace.jsonl import JsonLinesWriter
from hypercall.trace.reading import TraceReader
from hypercall.trace.statistics import Statistics

SYMBOLS = {0x1000: "send+0x4", 0x2000: 'odd"name'}


def call(time: int, code: int = 2, site: int | None = 0x1000, **changes: Any) -> HypercallEvent:
    record = CallRecord(
        vp_index=1,
        vtl=0,
        declaration=DECLARATIONS.by_code.get(code),
        control=code | 1 << 32,
        fast=False,
        input_register=0x7000,
        output_register=0,
        input=bytes(40),
        result=3 << 32,
        entered_at=time,
        left_at=time + 7,
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return HypercallEvent(Position(time, 1, 0, 0xFFFFFFFF82000000, site), record)


EVENTS: list[Event] = [
    call(10),
    call(20, result=5),
    call(30, 3, None),
    call(40, 0xBEEF, 0x2000, result=2),
    call(50, result=None, fault="#UD"),
    call(60, result=None, continued=True),
    call(70, 0x11, result=None),
    InterruptEvent(Position(80, 0, 0, 0), 0xF3),
    HaltEvent(Position(90, 0, 0, 0), True),
    MachineEvent(Position(100, 0, 0, 0), "reset", 'it said ","status":"X","result":"0x5"'),
    call(110, site=None),
]


def written(events: list[Event]) -> list[str]:
    lines: list[str] = []
    writer = JsonLinesWriter(lines.append, SYMBOLS.get)
    writer.begin()
    for event in events:
        writer.write(event)
    return lines


def counted(text: str | bytes) -> LineCounts:
    return count_lines(io.BytesIO(text.encode() if isinstance(text, str) else text))


def expected(text: str | bytes) -> list[object]:
    data = text.encode() if isinstance(text, str) else text
    statistics = Statistics()
    for event in TraceReader(io.BytesIO(data)):
        statistics.count(event)
    return list(statistics.by_call())


def test_counting_agrees_with_reading() -> None:
    text = "".join(written(EVENTS * 3))
    found = counted(text)
    assert list(found.counts.calls.by_call()) == expected(text)
    assert found.counts.records == {"hypercall": 24, "interrupt": 3, "halt": 3, "machine": 3}
    assert found.counts.span_ns == 100
    assert found.counts.symbols == SYMBOLS
    assert (found.damage, found.damaged) == ([], 0)


def test_events_are_counted_as_their_lines_are() -> None:
    counts = count_events(EVENTS, SYMBOLS.get)
    lines = counted("".join(written(EVENTS))).counts
    assert list(counts.calls.by_call()) == list(lines.calls.by_call())
    assert (counts.records, counts.span_ns) == (lines.records, lines.span_ns)
    assert counts.symbols == SYMBOLS
    assert count_events([], SYMBOLS.get).span_ns == 0


def test_lines_of_another_form_are_counted_too() -> None:
    text = "".join(json.dumps(json.loads(line)) + "\r\n" for line in written(EVENTS))
    found = counted(text)
    assert list(found.counts.calls.by_call()) == expected(text)
    assert found.counts.symbols == SYMBOLS
    assert found.damaged == 0


def test_what_a_fault_answered_is_counted_by_itself() -> None:
    text = "".join(written([*EVENTS, call(120, result=5, injected=True)]))
    found = counted(text)
    rows = list(found.counts.calls.by_call())
    assert rows == expected(text)
    assert "INVALID_PARAMETER (injected)" in {row.outcome for row in rows}


def test_damaged_lines_are_told_and_the_others_counted() -> None:
    lines = written(EVENTS)
    lines[2:2] = ["garbage\n", '{"event":"hypercall","time_ns":5}\n', "x" * (1 << 21) + "\n"]
    lines[-1] = lines[-1][:-30]
    found = counted("".join(lines))
    assert found.counts.calls.total == 6
    assert sorted(line for line, _ in found.damage) == [3, 4, 5, len(lines)]
    assert found.damaged == 4


def test_nothing() -> None:
    assert counted("").counts.records == {}
    assert counted("").counts.span_ns == 0


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(InputError, match="format 999"):
        counted('{"event":"trace","version":999}\n')


@settings(max_examples=200, deadline=None)
@given(
    number=st.integers(1, len(EVENTS)),
    at=st.integers(0, 600),
    new=st.binary(max_size=3),
    cut=st.booleans(),
)
def test_a_changed_line_is_counted_as_reading_has_it_or_not_at_all(
    number: int, at: int, new: bytes, cut: bool
) -> None:
    line = bytearray(written(EVENTS)[number].rstrip("\n").encode())
    line[at : at + len(new)] = new
    if cut:
        del line[at:]
    found = counted(bytes(line))
    total = sum(each.count for each in found.counts.calls.by_call())
    assert total <= line.count(b"hypercall") + 1
    assert found.counts.calls.total <= total
