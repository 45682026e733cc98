from hypercall.abi.record import CallRecord
from hypercall.trace.events import Event, HaltEvent, HypercallEvent, InterruptEvent, Position
from hypercall.trace.hub import TraceHub
from hypercall.trace.last_seen import LastSeen


def at(time_ns: int, vp_index: int = 0) -> Position:
    return Position(time_ns, vp_index, 0, 0x1000)


def test_the_last_of_each_kind_of_each_processor_is_kept() -> None:
    hub, last = TraceHub(), LastSeen()
    stop = last.attach(hub)
    record = CallRecord(0, 0, None, 8, True, 0, 0, result=0)
    events: list[Event] = [
        HypercallEvent(at(1), record),
        InterruptEvent(at(2), 0x30),
        InterruptEvent(at(3), 0x31),
        InterruptEvent(at(4, 1), 0x32),
        HaltEvent(at(5), True),
        HaltEvent(at(6), False),
    ]
    for event in events:
        hub.emit(event)
    assert last.calls == {0: events[0]}
    assert last.interrupts == {0: events[2], 1: events[3]}
    assert last.halts == {0: events[4]}
    stop()
    hub.emit(InterruptEvent(at(7), 0x33))
    assert last.interrupts[0] is events[2]
