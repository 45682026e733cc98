import struct

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace import flows
from hypercall.trace.events import HypercallEvent, InterruptEvent, MessageEvent, Position
from hypercall.trace.flows import FlowMatcher


def call(code: int, data: bytes, time_ns: int = 100, vp: int = 0, vtl: int = 0) -> HypercallEvent:
    record = CallRecord(
        vp, vtl, DECLARATIONS.by_code[code], code, False, 0, 0, data, result=0, entered_at=time_ns
    )
    return HypercallEvent(Position(time_ns, vp, vtl, 0), record)


def send(mask: int, vector: int = 0xFB, vtl: int = 0, **where: int) -> HypercallEvent:
    return call(0x0B, struct.pack("<IB3xQ", vector, vtl, mask), **where)


def interrupt(vp: int, vector: int = 0xFB, time_ns: int = 200, vtl: int = 0) -> InterruptEvent:
    return InterruptEvent(Position(time_ns, vp, vtl, 0), vector)


def message(vp: int, time_ns: int, vector: int | None = 0x62, sender: int = 0) -> MessageEvent:
    return MessageEvent(Position(time_ns, sender, 0, 0), vp, 0, 2, vector, 1)


def test_an_interrupt_is_followed_to_each_that_takes_it() -> None:
    matcher = FlowMatcher(4)
    sent = matcher.called(send(0b1110))
    assert [(flow.sender, flow.receiver, flow.sent_ns) for flow in sent] == [
        (0, 1, 100),
        (0, 2, 100),
        (0, 3, 100),
    ]
    assert matcher.arrived(interrupt(2)) == [sent[1]]
    assert matcher.arrived(interrupt(2)) == []
    assert matcher.arrived(interrupt(1, vector=0xFA)) == []
    assert matcher.arrived(interrupt(1, vtl=1)) == []
    assert matcher.arrived(interrupt(3)) == [sent[2]]


def test_two_on_their_way_arrive_together() -> None:
    matcher = FlowMatcher(2)
    first, second = matcher.called(send(2)), matcher.called(send(2, time_ns=150))
    assert matcher.arrived(interrupt(1)) == first + second


def test_an_interrupt_for_another_vtl_arrives_there() -> None:
    matcher = FlowMatcher(2)
    sent = matcher.called(send(2, vtl=0x11))
    assert matcher.arrived(interrupt(1)) == []
    assert matcher.arrived(interrupt(1, vtl=1)) == sent


def test_processors_become_known_by_and_by() -> None:
    matcher = FlowMatcher()
    data = struct.pack("<IB3xQQ", 0xFB, 0, 1, 0)
    assert [flow.receiver for flow in matcher.called(call(0x15, data, vp=1))] == [0, 1]
    matcher.arrived(interrupt(2, vector=0))
    assert [flow.receiver for flow in matcher.called(call(0x15, data))] == [0, 1, 2]


def test_a_message_starts_at_the_call_that_posted_it() -> None:
    matcher = FlowMatcher(2)
    flow = matcher.delivered(message(1, 100))
    assert flow is not None
    assert matcher.called(call(0x5C, bytes(24))) == [flow]
    assert matcher.called(call(0x5C, bytes(24))) == []
    assert matcher.arrived(interrupt(1, 0x62)) == [flow]


def test_a_message_of_before_is_not_the_calls() -> None:
    matcher = FlowMatcher(2)
    matcher.delivered(message(1, 50))
    assert matcher.called(call(0x5D, bytes(16))) == []
    matcher.delivered(message(1, 100))
    assert matcher.called(send(0)) == []
    assert matcher.delivered(message(1, 100, vector=None)) is None


def test_what_never_arrives_is_forgotten() -> None:
    matcher = FlowMatcher(2)
    for time_ns in range(flows._MOST_ON_THE_WAY + 10):
        matcher.called(send(2, time_ns=time_ns))
    arrived = matcher.arrived(interrupt(1))
    assert len(arrived) == flows._MOST_ON_THE_WAY
    assert arrived[-1].sent_ns == flows._MOST_ON_THE_WAY + 9
