import json
import struct
from typing import Any

from tests.trace.samples import send_ipi_record

from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.msrs import SyntheticMsr
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
from hypercall.trace.hub import ALL_KINDS, TraceHub
from hypercall.trace.jsonl import JsonLinesWriter

WHERE = Position(1_234, 1, 0, 0xFFFFFFFF82000000, 0x2000)


def send_ipi(**changes: Any) -> HypercallEvent:
    return HypercallEvent(WHERE, send_ipi_record(**changes))


def lines(*events: Event) -> list[str]:
    written: list[str] = []
    writer = JsonLinesWriter(written.append, {0x2000: "send+0x4"}.get)
    for event in events:
        writer.write(event)
    return written


def test_a_call_is_an_object_with_everything_in_it() -> None:
    (line,) = lines(send_ipi())
    assert line.endswith("}\n")
    assert json.loads(line) == {
        "event": "hypercall",
        "time_ns": 1234,
        "vp": 1,
        "vtl": 0,
        "rip": "0xffffffff82000000",
        "call_site": "0x2000",
        "symbol": "send+0x4",
        "duration_ns": 100,
        "call": "HvCallSendSyntheticClusterIpi",
        "code": 11,
        "control": "0x1000b",
        "fast": True,
        "input_register": "0xfb",
        "output_register": "0xd",
        "arguments": {"vector": "0xfb", "target_vtl": "own", "processor_mask": "{0,2-3}"},
        "outputs": {},
        "status": "SUCCESS",
        "result": "0x0",
        "reps_completed": 0,
        "continued": False,
        "fault": None,
        "input": "fb000000000000000d00000000000000",
        "output": "",
    }


def test_what_a_fault_answered_says_so() -> None:
    own, injected = (json.loads(line) for line in lines(send_ipi(), send_ipi(injected=True)))
    assert injected == own | {"injected": True}


def test_keys_have_one_order_and_equal_events_equal_bytes() -> None:
    one, two, failed = lines(send_ipi(), send_ipi(), send_ipi(result=5))
    assert one == two
    assert one != failed
    assert list(json.loads(one)) == list(json.loads(failed))


def test_a_call_without_result_has_no_status() -> None:
    refused, continued = (
        json.loads(line)
        for line in lines(send_ipi(result=None, fault="#UD"), send_ipi(continued=True, result=None))
    )
    assert (refused["status"], refused["result"], refused["fault"]) == (None, None, "#UD")
    assert continued["continued"] is True
    assert continued["status"] is None


def test_reps_are_numbers_and_unknown_calls_are_shown() -> None:
    unknown, flush = (
        json.loads(line)
        for line in lines(
            send_ipi(declaration=None, control=0xBEEF, result=2),
            send_ipi(
                declaration=DECLARATIONS.by_code[3],
                control=3 | 2 << 32,
                input=struct.pack("<5Q", 1, 0, 3, 0x1000, 0x2000),
                result=2 << 32,
            ),
        )
    )
    assert unknown["code"] == 0xBEEF
    assert unknown["status"] == "INVALID_HYPERCALL_CODE"
    assert flush["reps_completed"] == 2


def test_the_other_events_have_their_own_keys() -> None:
    events: list[Event] = [
        MsrEvent(WHERE, SyntheticMsr.VP_INDEX, 1 << 63, False),
        CpuidEvent(WHERE, 0x40000003, 0, (0xAE7F, 1, 2, 3)),
        ConsoleEvent(WHERE, b"a\xff"),
        InterruptEvent(WHERE, 2, "nmi"),
        MessageEvent(WHERE, 3, 1, 2, 0xF3, 1),
        HaltEvent(WHERE, True),
        VtlEvent(WHERE, 1, "call"),
        MachineEvent(WHERE, "reset", "the guest reset itself"),
        FindingEvent(WHERE, "overlap", "error", "input and output overlap"),
        FindingEvent(WHERE, "spin", "advice", "it spun", b"\xf3\x90", 0x1FFE, 32),
    ]
    common = ("event", "time_ns", "vp", "vtl", "rip")
    decoded = [json.loads(line) for line in lines(*events)]
    assert all(tuple(each)[:5] == common for each in decoded)
    assert [{k: v for k, v in each.items() if k not in common[1:]} for each in decoded] == [
        {
            "event": "msr",
            "index": "0x40000002",
            "name": "VP_INDEX",
            "access": "read",
            "value": "0x8000000000000000",
            "fault": False,
        },
        {
            "event": "cpuid",
            "leaf": "0x40000003",
            "subleaf": "0x0",
            "values": ["0xae7f", "0x1", "0x2", "0x3"],
        },
        {"event": "console", "console": "ttyS0", "text": "a\ufffd", "data": "61ff"},
        {"event": "interrupt", "vector": 2, "kind": "nmi"},
        {
            "event": "message",
            "target_vp": 3,
            "target_vtl": 1,
            "sint": 2,
            "vector": 0xF3,
            "message_type": "0x1",
        },
        {"event": "halt", "halted": True},
        {"event": "vtl", "entered": 1, "reason": "call"},
        {"event": "machine", "kind": "reset", "text": "the guest reset itself"},
        {
            "event": "finding",
            "call_site": "0x2000",
            "symbol": "send+0x4",
            "rule": "overlap",
            "severity": "error",
            "text": "input and output overlap",
        },
        {
            "event": "finding",
            "call_site": "0x2000",
            "symbol": "send+0x4",
            "rule": "spin",
            "severity": "advice",
            "text": "it spun",
            "code": "f390",
            "code_address": "0x1ffe",
            "bits": 32,
        },
    ]


def test_it_subscribes_to_what_strace_text_shows_too() -> None:
    hub = TraceHub()
    written: list[str] = []
    JsonLinesWriter(written.append, lambda address: None).attach(hub)
    assert [kind.__name__ for kind in ALL_KINDS if hub.wants(kind)] == [
        "HypercallEvent",
        "VtlEvent",
        "MachineEvent",
        "FindingEvent",
    ]


def test_the_first_line_tells_what_runs() -> None:
    written: list[str] = []
    description = RunDescription(source="hypercall", cpus=2, privileges=0xAE7F)
    JsonLinesWriter(written.append, lambda address: None, description).attach(TraceHub())
    assert [json.loads(line) for line in written] == [
        {
            "event": "trace",
            "version": 1,
            "source": "hypercall",
            "cpus": 2,
            "privileges": "0xae7f",
        }
    ]
