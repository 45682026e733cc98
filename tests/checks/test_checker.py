"""A recorded trace is checked by events alone."""

import struct
from collections.abc import Iterator

from hypercall.abi.record import CallRecord
from hypercall.checks import Checker, offline_findings
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.trace.description import RunDescription
from hypercall.trace.events import Event, HypercallEvent, MsrEvent, Position


def event(control: int, first: int = 0, second: int = 0, data: bytes = b"", **rest: int) -> Event:
    record = CallRecord(
        0,
        0,
        DECLARATIONS.by_code.get(control & 0xFFFF),
        control,
        bool(control & 1 << 16),
        first,
        second,
        input=data,
        result=rest.get("result", 0),
    )
    return HypercallEvent(Position(rest.get("time", 0), 0, 0, 0x2000, rest.get("site")), record)


def names(*events: Event) -> list[str]:
    return [finding.rule.name for finding in offline_findings(events)]


def test_a_good_trace_has_no_findings() -> None:
    flush = struct.pack("<3Q", 0x1000, 0, 1)
    ipi = struct.pack("<2Q", 0x40, 2)
    assert names(event(0x2, 0x5000, 0, flush), event(0x1000B, 0x40, 2, ipi)) == []


def test_calls_are_checked_without_a_machine() -> None:
    assert names(event(0x2, 0x5004, 0, struct.pack("<3Q", 0x1000, 0, 1))) == ["parameter-alignment"]
    assert names(event(0x2, 0x5000, 0, struct.pack("<3Q", 0x1000, 0, 0))) == ["empty-processor-set"]
    assert names(event(0x5C | 1 << 62, 0x5000, 0, b"")) == ["reserved-bits"]


def test_input_that_was_not_recorded_hides_what_it_would_show() -> None:
    """Kernels' own traces have addresses and no bytes."""
    assert names(event(0x2, 0x5000)) == []
    assert names(event(0x2, 0x5FF8)) == ["parameter-page-crossing"]


def test_the_interface_is_followed_by_its_msrs() -> None:
    def write(index: int, value: int) -> Event:
        return MsrEvent(Position(0, 0, 0, 0x3000), index, value, write=True)

    call = event(0x1000B, 0x40, 1, struct.pack("<2Q", 0x40, 1), result=2)
    unknown = ["unknown-call"]
    assert names(call) == unknown
    assert names(write(0x40000000, 1), write(0x40000001, 0x5001), call) == unknown
    assert names(write(0x40000000, 1), write(0x40000001, 0x5000), call) == ["disabled-interface"]
    assert names(write(0x40000000, 0), call) == ["disabled-interface"]


def test_a_repeated_failure_is_found_at_its_third_time() -> None:
    failing = event(1 << 16 | Call.SIGNAL_EVENT, 7, 0, bytes(16), result=0x12)
    assert names(failing, failing) == []
    assert names(failing, failing, failing) == ["hopeless-retry"]
    full = event(1 << 16 | Call.SIGNAL_EVENT, 7, 0, bytes(16), result=0x13)
    assert names(full, full, full, full) == []


def test_what_is_known_of_the_run_is_used() -> None:
    switch = event(0x1_0001, 0x1000, 0, struct.pack("<2Q", 0x1000, 0))
    assert offline_findings([switch]) == []
    described = offline_findings([switch], RunDescription(recommendations=0))
    assert [finding.rule.name for finding in described] == ["unrecommended-call"]


def test_events_of_other_kinds_may_be_fed() -> None:
    checker = Checker()

    def trace() -> Iterator[Event]:
        from hypercall.trace.events import ConsoleEvent

        yield ConsoleEvent(Position(0, 0, 0, 0), b"text")

    for each in trace():
        checker.feed(each)
    checker.finish()
    assert checker.findings == []
