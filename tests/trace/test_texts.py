import io
import json
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.abi.record import CallRecord
from hypercall.errors import InputError
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.control import CODE_MASK, FAST
from hypercall.trace.events import (
    ConsoleEvent,
    Event,
    HaltEvent,
    HypercallEvent,
    MachineEvent,
    MsrEvent,
    Position,
)
from hypercall.trace.jsonl import JsonLinesWriter
from hypercall.trace.reading import LONGEST_LINE, TraceReader
from hypercall.trace.strace import StraceWriter
from hypercall.trace.texts import LinesToText

U64 = st.integers(0, (1 << 64) - 1)
TIMES = st.one_of(st.integers(0, 3_000_000), U64.map(lambda value: value >> 1))
CODES = st.one_of(st.sampled_from(sorted(DECLARATIONS.by_code)), st.integers(0, 0xFFFF))


@st.composite
def records(draw: st.DrawFn) -> CallRecord:
    code = draw(CODES)
    fast = draw(st.booleans())
    reps = draw(st.integers(0, 20)) << 32 | draw(st.integers(0, 3)) << 48
    control = code | (FAST if fast else 0) | draw(st.integers(0, 3)) << 17 | reps
    result = draw(st.one_of(st.none(), st.integers(0, 0x80), U64))
    return CallRecord(
        vp_index=0,
        vtl=0,
        declaration=DECLARATIONS.by_code.get(control & CODE_MASK),
        control=control,
        fast=fast,
        input_register=draw(U64),
        output_register=draw(st.sampled_from([0, 0x5000])),
        input=draw(st.binary(max_size=80)),
        output=draw(st.binary(max_size=40)),
        result=result,
        fault=draw(st.sampled_from([None, None, None, "#UD", "?"])),
        continued=draw(st.booleans()),
    )


@st.composite
def traces(draw: st.DrawFn) -> list[Event]:
    """Events, among them calls that are alike but for when and where they were made."""
    kinds = draw(st.lists(records(), min_size=1, max_size=5))
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 12))):
        time = draw(TIMES)
        position = Position(
            time,
            draw(st.sampled_from([0, 1, 63, (1 << 32) - 1])),
            draw(st.sampled_from([0, 0, 0, 1, 15])),
            draw(st.sampled_from([0, 0xFFFFFFFF81000000, 0x10])),
        )
        if draw(st.integers(0, 4)) == 0:
            events.append(draw(st.sampled_from(others(position))))
            continue
        position.call_site = draw(st.sampled_from([None, None, 0, 0x10, 0x20, 1 << 63]))
        made = draw(st.sampled_from(kinds))
        values = {name: getattr(made, name) for name in CallRecord.__slots__}
        duration = draw(st.one_of(st.integers(0, 2_000_000), TIMES))
        values |= {"vp_index": position.vp_index, "vtl": position.vtl}
        values |= {"entered_at": time, "left_at": time + duration}
        events.append(HypercallEvent(position, CallRecord(**values)))
    return events


def others(position: Position) -> list[Event]:
    return [
        HaltEvent(position, True),
        MsrEvent(position, 0x40000000, 7, True),
        ConsoleEvent(position, b"caf\xc3\xa9 \xff\n"),
        MachineEvent(position, "panic", "na\u00efve \ud800"),
    ]


NAMES = {
    0x10: "send_ipi+0x1a",
    0x20: "caf\u00e9",
    0: "zero",
    0xFFFFFFFF81000000: "\ud800 alone",
}


def lines_of(events: list[Event]) -> bytes:
    parts: list[str] = []
    writer = JsonLinesWriter(parts.append, NAMES.get)
    writer.begin()
    for event in events:
        writer.write(event)
    return "".join(parts).encode()


def slowly(data: bytes) -> tuple[bytes, list[str], int]:
    """The text by way of events, and the damages."""
    reader = TraceReader(io.BytesIO(data))
    parts: list[str] = []
    writer = StraceWriter(parts.append, reader.symbol)
    for event in reader:
        writer.write(event)
    text = "".join(part.encode("utf-8", "replace").decode() for part in parts)
    return text.encode(), list(map(str, reader.damages)), reader.damage_count


def quickly(data: bytes) -> tuple[bytes, list[str], int]:
    lines = LinesToText(io.BytesIO(data))
    text = b"".join(lines.text())
    return text, list(map(str, lines.reader.damages)), lines.reader.damage_count


@settings(max_examples=150, deadline=None)
@given(traces())
def test_text_is_what_events_give(events: list[Event]) -> None:
    data = lines_of([*events, *events])
    assert quickly(data) == slowly(data)
    assert quickly(data)[2] == 0


@settings(max_examples=150, deadline=None)
@given(traces(), st.data())
def test_text_of_damaged_lines(events: list[Event], data: st.DataObject) -> None:
    """Bytes are changed, taken away, or come twice, after the calls were seen whole."""
    whole = lines_of(events)
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(damaged) - 1)) if damaged else 0
        what = data.draw(st.integers(0, 3))
        if what == 0 and damaged:
            damaged[at] = data.draw(st.integers(0, 255))
        elif what == 1:
            del damaged[at : at + data.draw(st.integers(1, 50))]
        elif what == 2:
            damaged[at:at] = damaged[at : at + data.draw(st.integers(1, 50))]
        else:
            damaged[at:at] = data.draw(st.sampled_from([b"\r", b" ", b"\n", b"0", b"\\u0041"]))
    both = whole + bytes(damaged)
    assert quickly(both) == slowly(both)


LINE = lines_of(
    [
        HypercallEvent(
            Position(1500, 1, 0, 0x10, 0x10),
            CallRecord(1, 0, DECLARATIONS.by_code[2], 2, False, 0, 0, bytes(24), result=0),
        )
    ]
).split(b"\n")[1]


@pytest.mark.parametrize(
    "change",
    [
        (b'"time_ns":1500', b'"time_ns":01500'),
        (b'"time_ns":1500', b'"time_ns":18446744073709551616'),
        (b'"time_ns":1500', b'"time_ns":-1'),
        (b'"vp":1', b'"vp":4294967296'),
        (b'"vtl":0', b'"vtl":16'),
        (b'"rip":"0x10"', b'"rip":"0x11112222333344445"'),
        (b'"call_site":"0x10"', b'"call_site":null'),
        (b"send_ipi", b"send\tipi"),
        (b"send_ipi", b"send\xc3\xa9ipi"),
        (b"send_ipi", b"send\\u0041ipi"),
        (b"}", b',"time_ns":99}'),
        (b"}", b"} "),
        (b"}", b"}\r"),
        (b"}", b"}}"),
    ],
)
def test_a_line_that_is_nearly_like_one_before(change: tuple[bytes, bytes]) -> None:
    start, end = LINE.rsplit(b"}", 1) if change[0] == b"}" else (LINE, b"")
    other = start + change[1] + end if change[0] == b"}" else LINE.replace(*change)
    assert other != LINE
    for data in (LINE + b"\n" + other, other + b"\n" + LINE + b"\n" + other + b"\n"):
        assert quickly(data) == slowly(data)


def test_long_lines_and_many_names() -> None:
    long = b'{"event":"' + b"x" * LONGEST_LINE + b'"}'
    almost = LINE[:-1] + b',"more":"' + b"x" * (LONGEST_LINE - len(LINE) - 12) + b'"}'
    data = b"\n".join([LINE, long, LINE, almost, long + b"y" * 300_000, LINE, almost + b" " * 99])
    assert quickly(data) == slowly(data)
    assert quickly(data)[2] == 3


def test_a_name_that_comes_later() -> None:
    unnamed = LINE.replace(b'"send_ipi+0x1a"', b"null")
    data = b"\n".join([unnamed, LINE, unnamed, LINE.replace(b"send", b"other")])
    text = quickly(data)[0].decode().splitlines()
    assert [line.rpartition("  [")[2] for line in text] == ["0x10]", *["send_ipi+0x1a]"] * 3]
    assert quickly(data) == slowly(data)


def test_a_trace_of_a_newer_format() -> None:
    line = json.dumps({"event": "trace", "version": 99}).encode()
    with pytest.raises(InputError, match="format 99"):
        quickly(LINE + b"\n" + line)


def test_a_pipe_is_shown_as_it_comes() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as stream:
        text = LinesToText(stream).text()
        os.write(writing, LINE + b"\n" + LINE)
        assert next(text).count(b"\n") == 1
        threading.Timer(0, lambda: os.close(writing)).start()
        assert b"".join(text).count(b"\n") == 1
