import dataclasses
import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from hypercall.abi.record import CallRecord
from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tour import TOUR_CPUS, TOUR_PRIVILEGES, tour_image
from hypercall.trace import reading
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
from hypercall.trace.hub import ALL_KINDS
from hypercall.trace.jsonl import JsonLinesWriter
from hypercall.trace.reading import Damage, TraceReader, open_trace

WHERE = Position(1_234, 1, 2, 0xFFFFFFFF82000000)
CALL = HypercallEvent(
    Position(5, 3, 1, 0x1000, 0x2000),
    CallRecord(
        3,
        1,
        DECLARATIONS.by_code[0x0B],
        0x1000B,
        True,
        0xFB,
        0b1101,
        struct.pack("<IIQ", 0xFB, 0, 0b1101),
        b"",
        1 << 32 | 5,
        None,
        5,
        105,
    ),
)
REFUSED = HypercallEvent(
    Position(6, 0, 0, 0x1000),
    CallRecord(0, 0, None, 0xBEEF, False, 1 << 63, 2, b"in", b"out", None, "#UD", 6, 6, True),
)
INJECTED = HypercallEvent(CALL.position, dataclasses.replace(CALL.record, injected=True))
PARTLY_KNOWN = HypercallEvent(
    Position(7, 0, 0, 0),
    CallRecord(
        *(0, 0, DECLARATIONS.by_code[0x0B], 0x0B, False, 0x7000, 0, struct.pack("<IIQ", 9, 0, 2)),
        result=0,
        entered_at=7,
        left_at=8,
        unknown=("target_vtl",),
    ),
)
EVERY_KIND: list[Event] = [
    CALL,
    REFUSED,
    INJECTED,
    PARTLY_KNOWN,
    MsrEvent(WHERE, 0x40000002, 1 << 63, False),
    MsrEvent(WHERE, 0x40000002, 5, True, True),
    CpuidEvent(WHERE, 0x40000003, 7, (1, 2, 3, 0xFFFFFFFF)),
    ConsoleEvent(WHERE, b"a\xff\r\n", "ttyS1"),
    InterruptEvent(WHERE, 2, "nmi"),
    MessageEvent(WHERE, 2, 1, 15, 0xF3, 0x80000010),
    MessageEvent(WHERE, 2, 0, 2, None, None),
    HaltEvent(WHERE, True),
    HaltEvent(WHERE, False),
    VtlEvent(WHERE, 1, "call"),
    MachineEvent(WHERE, "reset", "the guest reset \u2713 \ud800 itself"),
    FindingEvent(WHERE, "overlap", "error", "input and output overlap"),
    FindingEvent(
        Position(5, 3, 1, 0x1000, 0x3000), "spin", "advice", "it spun", b"\xf3\x90", 0x2FFE, 32
    ),
]


def text_of(*events: Event, description: RunDescription | None = None) -> str:
    written: list[str] = []
    writer = JsonLinesWriter(written.append, {0x2000: "send+0x4"}.get, description)
    writer.begin()
    for event in events:
        writer.write(event)
    return "".join(written)


def reader_of(text: str | bytes) -> TraceReader:
    return TraceReader(io.BytesIO(text.encode() if isinstance(text, str) else text))


def changed(**changes: Any) -> str:
    line = json.loads(text_of(CALL).splitlines()[1])
    return json.dumps(line | changes) + "\n"


def test_every_event_comes_back_as_it_was() -> None:
    description = RunDescription("hypercall", "vmlinuz", None, 4, privileges=1 << 40)
    reader = reader_of(text_of(*EVERY_KIND, description=description))
    assert list(reader) == EVERY_KIND
    assert {type(event) for event in EVERY_KIND} == set(ALL_KINDS)
    assert reader.description == description
    assert (reader.events, reader.damages, reader.damage_count) == (len(EVERY_KIND), [], 0)
    assert (reader.symbol(0x2000), reader.symbol(0x2001)) == ("send+0x4", None)


def test_the_trace_of_a_guest_comes_back_as_it_was() -> None:
    machine = Machine(MachineConfiguration(cpus=TOUR_CPUS, privileges=TOUR_PRIVILEGES))
    machine.load(tour_image(), image_format="flat")
    events: list[Event] = []
    written: list[str] = []
    machine.trace.subscribe(events.append)
    writer = JsonLinesWriter(written.append, machine.symbol, machine.describe())
    writer.attach(machine.trace, *ALL_KINDS)
    machine.run(10_000_000_000)
    reader = reader_of("".join(written))
    assert list(reader) == events
    assert len(events) > 100
    assert reader.description == machine.describe()


def test_events_are_read_when_they_are_asked_for() -> None:
    stream = io.BytesIO((text_of(CALL) + changed(vp=9)).encode())
    events = iter(TraceReader(stream))
    next(events)
    assert stream.tell() < len(stream.getvalue())


def test_a_trace_without_first_line_or_last_line_feed() -> None:
    lines = text_of(CALL, REFUSED).splitlines()[1:]
    reader = reader_of("\n".join(lines))
    assert list(reader) == [CALL, REFUSED]
    assert reader.description == RunDescription()


def test_a_cut_file_gives_what_is_there_and_the_place() -> None:
    whole = text_of(CALL, REFUSED)
    second = whole.index("\n", whole.index("\n") + 1) + 1
    reader = reader_of(whole[:-30])
    assert list(reader) == [CALL]
    (damage,) = reader.damages
    assert damage.line == 3
    assert second <= damage.byte <= len(whole) - 30


def test_a_damaged_line_is_left_out_and_the_rest_is_read() -> None:
    first = text_of(CALL)
    text = first + '{"event":"halt",,}\n' + "\n" + changed(vp=7)
    reader = reader_of(text)
    assert [event.position.vp_index for event in reader] == [3, 7]
    assert reader.damages == [
        Damage(
            3,
            len(first) + 16,
            "this is no JSON: Expecting property name enclosed in double quotes",
        )
    ]
    assert str(reader.damages[0]).startswith(f"line 3, byte {len(first) + 16}: this is no JSON")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"\xff\n", "ascii"),
        (b"[1]\n", "not an object"),
        (b"17\n", "not an object"),
        (b"[" * 100_000 + b"\n", "nested too deeply"),
        (b'{"event":"halt","time_ns":' + b"9" * 5000 + b"}\n", "digits"),
        (b'{"event":"launch"}\n', "there is no event 'launch'"),
        (b'{"event":["halt"]}\n', "there is no event"),
        (b"{}\n", "there is no event 'None'"),
        (b'{"event":"trace"}\n', "'version' is not a number"),
        (changed(time_ns=-1), "'time_ns' is not a number of 64 bits"),
        (changed(time_ns=1.5), "'time_ns'"),
        (changed(time_ns=True), "'time_ns'"),
        (changed(vp=1 << 32), "'vp'"),
        (changed(vtl=16), "'vtl'"),
        (changed(rip=5), "'rip' is not a hexadecimal number"),
        (changed(rip="0x1" + 16 * "0"), "'rip'"),
        (changed(rip="0xg"), "'rip'"),
        (changed(control=None), "'control'"),
        (changed(input="abc"), "'input' is not bytes"),
        (changed(output=None), "'output' is no text"),
        (changed(fast=0), "'fast' is neither true nor false"),
        (changed(event="msr", access="execute"), "'access' is neither"),
        (changed(event="cpuid", values=["0x0"]), "'values'"),
        (changed(event="interrupt", vector=256), "'vector'"),
        (changed(event="message", target_vp=0, target_vtl=0, sint=16), "'sint'"),
    ],
)
def test_lines_without_sense_are_told(line: bytes | str, reason: str) -> None:
    line = line.encode() if isinstance(line, str) else line
    reader = reader_of(line + changed().encode())
    assert len(list(reader)) == 1
    (damage,) = reader.damages
    assert reason in damage.reason
    assert damage.line == 1


def test_a_line_of_any_length_is_skipped_without_holding_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    monkeypatch.setattr(reading, "_CHUNK", 100)
    text = "[" * 5000 + "\n" + changed() + "]" * 1000
    reader = reader_of(text)
    assert len(list(reader)) == 1
    assert [(each.line, each.byte) for each in reader.damages] == [(1, 0), (3, len(text) - 1000)]
    assert "longer than 1000 bytes" in reader.damages[0].reason


def test_damages_without_end_are_counted_but_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_DAMAGES", 3)
    reader = reader_of("x\n" * 10)
    assert list(reader) == []
    assert (len(reader.damages), reader.damage_count) == (3, 10)


def test_symbols_without_end_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_SYMBOLS", 1)
    reader = reader_of(changed() + changed(call_site="0x3000"))
    assert len(list(reader)) == 2
    assert (reader.symbol(0x2000), reader.symbol(0x3000)) == ("send+0x4", None)


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(InputError, match="the trace has format 2"):
        list(reader_of('{"event":"trace","version":2}\n'))


def test_a_file_is_opened(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(text_of(CALL))
    assert list(open_trace(trace)) == [CALL]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"   0.000000000 vp0 note: said hello\n"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no trace of JSON lines"):
        open_trace(path)


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the trace .*: No such file"):
        open_trace(tmp_path / "nothing")


def test_a_finding_with_code_that_makes_no_sense_is_damage() -> None:
    line = json.loads(text_of(EVERY_KIND[-1]).splitlines()[1])
    for changes in ({"code": "zz"}, {"code": "90" * 300}, {"bits": 16}, {"code_address": 7}):
        reader = reader_of(json.dumps(line | changes) + "\n")
        assert list(reader) == []
        assert reader.damage_count == 1
