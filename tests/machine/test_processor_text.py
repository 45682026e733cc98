from dataclasses import replace

from hypercall.abi.record import CallRecord
from hypercall.machine.processor_state import Activity, ProcessorState
from hypercall.machine.processor_text import processor_text
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.events import HaltEvent, HypercallEvent, InterruptEvent, Position
from hypercall.trace.last_seen import LastSeen

SPINS = ProcessorState(
    *(0, 0, Activity.RUNNING, 0x2004, False, False, (0xFB, 0x30), (0xED,), None, (0x3001, 0x4001))
)
RESTS = ProcessorState(1, 0, Activity.HALTED, 0x5001, False, True, (), (), 2_500_000_000, ())
NAMES = {0x2004: "wait+0x4", 0x3001: "send+0x1"}


def written(states: list[ProcessorState], last: LastSeen | None = None) -> str:
    return processor_text(states, last or LastSeen(), NAMES.get)


def test_a_spinning_processor_says_where_from_where_and_what_waits_for_it() -> None:
    last = LastSeen()
    record = CallRecord(0, 0, DECLARATIONS.by_code[0x0B], 0x1000B, True, 0, 0, result=5)
    last.keep(HypercallEvent(Position(1_500_000_000, 0, 0, 0), record))
    last.keep(InterruptEvent(Position(1_250_000_000, 0, 0, 0), 0xED))
    assert written([SPINS], last).splitlines() == [
        "VP 0: running, wait+0x4, interrupts off",
        "  stack: send+0x1, 0x4001",
        "  last: interrupt 0xed at 1.250000 s;"
        " HvCallSendSyntheticClusterIpi at 1.500000 s, INVALID_PARAMETER",
        "  pending: 0xfb, 0x30; in service: 0xed; none of its timers runs",
    ]


def test_a_resting_processor_says_since_when_and_what_may_wake_it() -> None:
    last = LastSeen()
    last.keep(HaltEvent(Position(2_000_000_000, 1, 0, 0), True))
    assert written([RESTS], last).splitlines() == [
        "VP 1: halted since 2.000000 s, 0x5001, interrupts on",
        "  last: no interrupt; no hypercall",
        "  next timer at 2.500000 s",
    ]


def test_others_are_named() -> None:
    states = [
        replace(RESTS, vtl=1, activity=Activity.WAITING),
        replace(SPINS, user=True),
        replace(RESTS, vp_index=2, activity=Activity.NOT_STARTED),
    ]
    text = written(states)
    assert "VP 1 VTL 1: waiting in a call, 0x5001" in text
    assert "running, user code at 0x2004" in text
    assert text.endswith("\nVP 2: waiting for start-up\n")


def test_of_many_processors_those_that_do_something_are_shown() -> None:
    states = [replace(RESTS, vp_index=index) for index in range(20)]
    states[18] = replace(SPINS, vp_index=18)
    lines = written(states).splitlines()
    assert lines[0].startswith("VP 18: running")
    assert lines[4].startswith("VP 0: halted")
    assert lines[-1] == "and 4 more"
