import struct

import pytest
from tests.trace.samples import send_ipi_record

from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.msrs import SyntheticMsr
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
from hypercall.trace.shown import Values, event_line, event_name, event_values, show_call

AT = Position(1_000, 3, 0, 0x1000)

SHOWN: list[tuple[Event, str, Values, str]] = [
    (
        MsrEvent(AT, SyntheticMsr.GUEST_OS_ID, 0x8100, True),
        "wrmsr GUEST_OS_ID",
        [("value", "0x8100"), ("result", "ok")],
        "wrmsr(GUEST_OS_ID, 0x8100) = ok",
    ),
    (
        MsrEvent(AT, 0x1B, 0, False, fault=True),
        "rdmsr 0x1b",
        [("value", "0x0"), ("result", "#GP")],
        "rdmsr(0x1b) = #GP",
    ),
    (
        CpuidEvent(AT, 0x40000001, 0, (0x31237648, 0, 0, 2)),
        "cpuid 0x40000001",
        [("subleaf", "0x0"), ("eax", "0x31237648"), ("ebx", "0x0"), ("ecx", "0x0"), ("edx", "0x2")],
        "cpuid(0x40000001, 0x0) = 0x31237648, 0x0, 0x0, 0x2",
    ),
    (ConsoleEvent(AT, b"a\n"), "output", [("text", "a\n")], "ttyS0 b'a\\n'"),
    (
        InterruptEvent(AT, 0xEC),
        "interrupt 0xec",
        [("kind", "external")],
        "interrupt 0xec (external)",
    ),
    (
        MessageEvent(AT, 1, 0, 2, 0xF3, 1),
        "message",
        [("vp", 1), ("vtl", 0), ("sint", 2), ("type", "0x1")],
        "message of type 0x1 to vp1 SINT2 (vector 0xf3)",
    ),
    (
        MessageEvent(AT, 0, 1, 4, None, None),
        "event flag",
        [("vp", 0), ("vtl", 1), ("sint", 4)],
        "event flag to vp0 SINT4 of VTL1",
    ),
    (HaltEvent(AT, True), "halted", [], "halted"),
    (HaltEvent(AT, False), "woken", [], "woken"),
    (VtlEvent(AT, 1, "call"), "VTL 1", [("reason", "call")], "VTL0 -> VTL1 (call)"),
    (
        MachineEvent(AT, "reset", "the guest reset itself"),
        "reset",
        [("text", "the guest reset itself")],
        "reset: the guest reset itself",
    ),
    (
        FindingEvent(AT, "slow-form", "advice", "It could be faster."),
        "slow-form",
        [("severity", "advice"), ("text", "It could be faster.")],
        "advice: It could be faster. (slow-form)",
    ),
]


@pytest.mark.parametrize(("event", "name", "values", "line"), SHOWN)
def test_an_event_as_it_is_shown(event: Event, name: str, values: Values, line: str) -> None:
    assert event_name(event) == name
    assert list(event_values(event)) == list(values)
    assert event_line(event) == line


def test_every_kind_but_calls_is_here() -> None:
    assert {type(event) for event, *_ in SHOWN} == set(ALL_KINDS) - {HypercallEvent}


def test_a_call_as_it_is_shown() -> None:
    shown = show_call(send_ipi_record())
    assert shown.name == "HvCallSendSyntheticClusterIpi"
    assert shown.arguments == [
        ("vector", "0xfb"),
        ("target_vtl", "own"),
        ("processor_mask", "{0,2-3}"),
    ]
    assert shown.outputs == []
    assert shown.outcome == "SUCCESS"
    assert shown.line == (
        "HvCallSendSyntheticClusterIpi(vector=0xfb, target_vtl=own, processor_mask={0,2-3})"
        " = SUCCESS"
    )


def test_outputs_are_in_the_line() -> None:
    declaration = DECLARATIONS.by_code[0x8001]
    shown = show_call(
        send_ipi_record(
            declaration=declaration, control=0x8001, input=b"", output=struct.pack("<Q", 1)
        )
    )
    ((name, text),) = shown.outputs
    assert shown.line.endswith(f"() = SUCCESS {{{name}={text}}}")


@pytest.mark.parametrize(
    ("changed", "outcome"),
    [
        ({"result": None, "fault": "#UD"}, "#UD"),
        ({"result": None, "continued": True}, "continued"),
        ({"result": 5}, "INVALID_PARAMETER"),
        ({"result": 5, "injected": True}, "INVALID_PARAMETER (injected)"),
        ({"result": None, "continued": True, "injected": True}, "continued"),
    ],
)
def test_what_came_of_a_call(changed: dict[str, object], outcome: str) -> None:
    assert show_call(send_ipi_record(**changed)).outcome == outcome
