from types import SimpleNamespace
from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.faults.calls import CallAttempt
from hypercall.faults.deliveries import Delivery
from hypercall.faults.points import Choice, DeliveryKind, Point, Recorder
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.status import HvStatus

EVERYTHING = frozenset(DeliveryKind)


def attempt(code: int, place: int, reps: int = 0) -> CallAttempt:
    plan: Any = SimpleNamespace(call=DECLARATIONS.find(code), rep_count=reps)
    return CallAttempt(plan, 0, 0, place)


def texts(points: list[Point]) -> list[str]:
    return [str(point.fault) for point in points]


def test_each_call_from_each_place_with_each_of_its_statuses() -> None:
    recorder = Recorder()
    for place in (0x10, 0x20, 0x10, 0x30):
        recorder.call(attempt(Call.SEND_SYNTHETIC_CLUSTER_IPI, place))
    points = recorder.points(Choice())
    declared = DECLARATIONS.find(0xB).statuses
    statuses = list(dict.fromkeys(each.status.name for each in declared if each.status))
    assert statuses
    assert texts(points) == [
        f"call=SendSyntheticClusterIpi,nth={number},status={status}"
        for number in (1, 2, 4)
        for status in statuses
    ]
    assert {point.place for point in points} == {0x10, 0x20, 0x30}


def test_a_list_is_done_in_part_where_it_has_parts() -> None:
    recorder = Recorder()
    for place, reps in ((0x10, 1), (0x10, 1), (0x10, 6), (0x20, 3), (0x20, 9), (0x30, 8)):
        recorder.call(attempt(Call.FLUSH_VIRTUAL_ADDRESS_LIST, place, reps))
    partial = [text for text in texts(recorder.points(Choice())) if "reps" in text]
    # The second place's 3 elements: of those before, only the list of 6 has more than 1.
    assert partial == [
        "call=FlushVirtualAddressList,nth=1,reps=3",
        "call=FlushVirtualAddressList,nth=2,reps=1",
        "call=FlushVirtualAddressList,nth=3,reps=4",
    ]
    chosen = recorder.points(Choice(statuses=(HvStatus.TIMEOUT,)))
    assert texts(chosen) == [
        f"call=FlushVirtualAddressList,nth={number},status=TIMEOUT" for number in (1, 4, 6)
    ]


def test_the_first_of_each_delivery() -> None:
    recorder = Recorder(EVERYTHING)
    for delivery in (
        Delivery("interrupt", 0x41, None, 0, 0),
        Delivery("interrupt", 0x41, None, 1, 0),
        Delivery("interrupt", 0x41, None, 0, 0),
        Delivery("message", 0x8000_0010, 2, 0, 1),
        Delivery("timer", 3, None, 1, 0),
    ):
        recorder.delivery(delivery)
    assert texts(recorder.points(Choice(drops=EVERYTHING))) == [
        "interrupt=0x41,vp=0,nth=1,drop",
        "interrupt=0x41,vp=1,nth=1,drop",
        "message=TIMER_EXPIRED,sint=2,vp=0,vtl=1,nth=1,drop",
        "timer=3,vp=1,nth=1,drop",
    ]
    only = Recorder(frozenset({DeliveryKind.TIMERS}))
    only.delivery(Delivery("interrupt", 0x41, None, 0, 0))
    only.delivery(Delivery("timer", 3, None, 1, 0))
    assert len(only.points(Choice())) == 1


def test_only_some_points_spread_over_all() -> None:
    recorder = Recorder(EVERYTHING)
    for vector in range(0x40, 0x4A):
        recorder.delivery(Delivery("interrupt", vector, None, 0, 0))
    numbers = [text.split(",")[0] for text in texts(recorder.points(Choice(most=3)))]
    assert numbers == ["interrupt=0x40", "interrupt=0x43", "interrupt=0x46"]
    assert len(recorder.points(Choice(most=99))) == 10


def test_no_point_is_a_mistake_that_names_what_there_is() -> None:
    recorder = Recorder()
    with pytest.raises(InputError, match="the guest makes no hypercalls"):
        recorder.points(Choice())
    recorder.call(attempt(Call.POST_MESSAGE, 0))
    with pytest.raises(InputError, match="the guest calls HvCallPostMessage"):
        recorder.points(Choice(calls=frozenset({Call.SIGNAL_EVENT})))
