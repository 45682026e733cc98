from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.events import HaltEvent, HypercallEvent, Position
from hypercall.trace.hub import TraceHub
from hypercall.trace.statistics import CONTINUED, Statistics

POST_MESSAGE, FLUSH_LIST = 0x5C, 0x03


def call(
    code: int,
    result: int | None = 0,
    at: int = 0,
    took: int = 100,
    site: int | None = None,
    fault: str | None = None,
    continued: bool = False,
) -> HypercallEvent:
    record = CallRecord(
        vp_index=0,
        vtl=0,
        declaration=DECLARATIONS.by_code.get(code),
        control=code,
        fast=False,
        input_register=0,
        output_register=0,
        result=result,
        fault=fault,
        entered_at=at,
        left_at=at + took,
        continued=continued,
    )
    return HypercallEvent(Position(at, 0, 0, 0x1000, site), record)


def test_calls_are_counted_by_name_and_status() -> None:
    hub, statistics = TraceHub(), Statistics()
    statistics.attach(hub)
    for event in (
        call(POST_MESSAGE, at=10, took=100, site=0x2000),
        call(POST_MESSAGE, at=20, took=300, site=0x3000),
        call(POST_MESSAGE, at=30, took=200, site=0x3000),
        call(POST_MESSAGE, result=0x13, at=40),
        HaltEvent(Position(50, 0, 0, 0), True),
    ):
        hub.emit(event)
    good, bad = statistics.by_call()
    assert (good.name, good.outcome, good.count) == ("HvCallPostMessage", "SUCCESS", 3)
    assert (good.first_ns, good.last_ns, good.mean_ns) == (10, 30, 200)
    assert good.call_sites == {0x3000: 2, 0x2000: 1}
    assert (bad.outcome, bad.count) == ("INSUFFICIENT_BUFFERS", 1)
    assert statistics.total == 4


def test_attempts_to_be_continued_are_not_calls_and_their_reps_count_once() -> None:
    statistics = Statistics()
    statistics.count(call(FLUSH_LIST, result=None, continued=True))
    statistics.count(call(FLUSH_LIST, result=5 << 32))
    assert {(c.outcome, c.count, c.reps) for c in statistics.by_call()} == {
        (CONTINUED, 1, 0),
        ("SUCCESS", 1, 5),
    }
    assert statistics.total == 1


def test_unknown_codes_statuses_and_faults_have_names_too() -> None:
    statistics = Statistics()
    statistics.count(call(0xBEEF, result=2))
    statistics.count(call(0xBEEF, result=0xFFFE))
    statistics.count(call(POST_MESSAGE, result=None, fault="#UD"))
    statistics.count(call(POST_MESSAGE, result=None))
    assert [(c.name, c.outcome) for c in statistics.by_call()] == [
        ("HvCallPostMessage", "#UD"),
        ("HvCallPostMessage", "done"),
        ("call 0xbeef", "INVALID_HYPERCALL_CODE"),
        ("call 0xbeef", "status 0xfffe"),
    ]


def test_what_a_fault_answered_is_counted_by_itself() -> None:
    statistics = Statistics()
    own, injected = call(POST_MESSAGE, result=0x13), call(POST_MESSAGE, result=0x13)
    injected.record.injected = True
    for event in (own, injected, injected):
        statistics.count(event)
    assert [(c.outcome, c.count) for c in statistics.by_call()] == [
        ("INSUFFICIENT_BUFFERS (injected)", 2),
        ("INSUFFICIENT_BUFFERS", 1),
    ]


def test_counting_can_be_stopped() -> None:
    hub, statistics = TraceHub(), Statistics()
    stop = statistics.attach(hub)
    stop()
    hub.emit(call(POST_MESSAGE))
    assert statistics.total == 0
    assert statistics.by_call() == []


def test_calls_that_somebody_else_counted() -> None:
    statistics = Statistics()
    statistics.add(2, 5, None, count=3, reps=6, first_ns=10, last_ns=20, total_ns=9)
    statistics.add(2, 5, None, count=1, reps=1, first_ns=5, last_ns=15, total_ns=3)
    statistics.add(0xBEEF, None, "?", count=1, reps=0, first_ns=1, last_ns=1, total_ns=0)
    known, unknown = statistics.by_call()
    assert (known.name, known.outcome) == ("HvCallFlushVirtualAddressSpace", "INVALID_PARAMETER")
    assert (known.count, known.reps, known.first_ns, known.last_ns) == (4, 7, 5, 20)
    assert known.mean_ns == 3
    assert known.call_sites == {None: 4}
    assert (unknown.name, unknown.outcome) == ("call 0xbeef", "?")
    assert statistics.total == 5


def test_counts_are_replaced_by_those_of_another() -> None:
    hub, statistics = TraceHub(), Statistics()
    statistics.attach(hub)
    hub.emit(call(POST_MESSAGE))
    statistics.replace(Statistics())
    assert statistics.total == 0
    hub.emit(call(POST_MESSAGE))
    assert statistics.total == 1
