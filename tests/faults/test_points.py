from types import SimpleNamespace
from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.faults.calls import CallAttempt
from hypercall.faults.deliveries import Delivery
from hypercall.faults.points import Choice, Point, PointKind, Recorder
from hypercall.machine.configuration import MachineConfiguration
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.status import HvStatus

TRUTH = MachineConfiguration().partition_configuration()
CALLS = frozenset({PointKind.CALLS})
DELIVERIES = frozenset({PointKind.INTERRUPTS, PointKind.MESSAGES, PointKind.TIMERS})


def attempt(code: int, place: int, reps: int = 0, vtl: int = 0) -> CallAttempt:
    plan: Any = SimpleNamespace(call=DECLARATIONS.find(code), rep_count=reps)
    return CallAttempt(plan, 0, vtl, place)


def points(recorder: Recorder, choice: Choice | None = None) -> list[Point]:
    return recorder.points(choice or Choice(), TRUTH)


def texts(recorder: Recorder, choice: Choice | None = None) -> list[str]:
    return [str(point.fault) for point in points(recorder, choice)]


def test_each_call_from_each_place_with_each_of_its_statuses() -> None:
    recorder = Recorder(CALLS)
    for place in (0x10, 0x20, 0x10, 0x30):
        recorder.call(attempt(Call.SEND_SYNTHETIC_CLUSTER_IPI, place))
    declared = DECLARATIONS.find(0xB).statuses
    statuses = list(dict.fromkeys(each.status.name for each in declared if each.status))
    assert len(statuses) > 1
    ways = [*(f"status={status}" for status in statuses), "time=20ms"]
    assert texts(recorder) == [
        *(f"call=SendSyntheticClusterIpi,nth={n},{way}" for n in (1, 2, 4) for way in ways),
        # Another matter than one failure: a host on which it never works.
        *(f"call=SendSyntheticClusterIpi,status={status}" for status in statuses),
    ]
    assert [point.place for point in points(recorder)] == [
        *(place for place in (0x10, 0x20, 0x30) for _ in ways),
        *(None for _ in statuses),
    ]


def test_a_call_that_is_made_once_does_not_fail_always() -> None:
    recorder = Recorder(CALLS)
    recorder.call(attempt(Call.POST_MESSAGE, 0x10))
    assert all(",nth=1," in text for text in texts(recorder))


def test_the_same_place_in_another_vtl_is_another() -> None:
    recorder = Recorder(CALLS)
    for vtl in (0, 1, 1):
        recorder.call(attempt(Call.POST_MESSAGE, 0x10, vtl=vtl))
    late = [text for text in texts(recorder) if "time=" in text]
    assert late == ["call=PostMessage,nth=1,time=20ms", "call=PostMessage,nth=2,time=20ms"]


def test_a_list_is_done_in_part_where_it_has_parts() -> None:
    recorder = Recorder(CALLS)
    for place, reps in ((0x10, 1), (0x10, 1), (0x10, 6), (0x20, 3), (0x20, 9), (0x30, 8)):
        recorder.call(attempt(Call.FLUSH_VIRTUAL_ADDRESS_LIST, place, reps))
    partial = [text for text in texts(recorder) if "reps" in text]
    # The second place's 3 elements: of those before, only the list of 6 has more than 1.
    assert partial == [
        "call=FlushVirtualAddressList,nth=1,reps=0",
        "call=FlushVirtualAddressList,nth=1,reps=3",
        "call=FlushVirtualAddressList,nth=4,reps=0",
        "call=FlushVirtualAddressList,nth=2,reps=1",
        "call=FlushVirtualAddressList,nth=6,reps=0",
        "call=FlushVirtualAddressList,nth=3,reps=4",
    ]
    assert texts(recorder, Choice(statuses=(HvStatus.TIMEOUT,))) == [
        *(f"call=FlushVirtualAddressList,nth={number},status=TIMEOUT" for number in (1, 4, 6)),
        "call=FlushVirtualAddressList,status=TIMEOUT",
    ]


def test_the_first_of_each_delivery_is_lost_and_late() -> None:
    recorder = Recorder()
    for delivery in (
        Delivery("interrupt", 0x41, None, 0, 0),
        Delivery("interrupt", 0x41, None, 1, 0),
        Delivery("interrupt", 0x41, None, 0, 0),
        Delivery("message", 0x8000_0010, 2, 0, 1),
        Delivery("timer", 3, None, 1, 0),
    ):
        recorder.delivery(delivery)
    assert texts(recorder, Choice(delay_ns=7_000)) == [
        *("interrupt=0x41,vp=0,nth=1,drop", "interrupt=0x41,vp=0,nth=1,delay=7us"),
        *("interrupt=0x41,vp=1,nth=1,drop", "interrupt=0x41,vp=1,nth=1,delay=7us"),
        "message=TIMER_EXPIRED,sint=2,vp=0,vtl=1,nth=1,drop",
        "message=TIMER_EXPIRED,sint=2,vp=0,vtl=1,nth=1,delay=7us",
        *("timer=3,vp=1,nth=1,drop", "timer=3,vp=1,nth=1,delay=7us"),
    ]
    only = Recorder(frozenset({PointKind.TIMERS}))
    only.delivery(Delivery("interrupt", 0x41, None, 0, 0))
    only.delivery(Delivery("timer", 3, None, 1, 0))
    assert len(points(only)) == 2


def test_deliveries_to_several_vtls_are_told_apart() -> None:
    recorder = Recorder(DELIVERIES)
    for vtl in (1, 0):
        recorder.delivery(Delivery("interrupt", 0x41, None, 0, vtl))
    assert [text for text in texts(recorder) if "drop" in text] == [
        "interrupt=0x41,vp=0,vtl=1,nth=1,drop",
        "interrupt=0x41,vp=0,vtl=0,nth=1,drop",
    ]


@pytest.mark.parametrize(
    ("each", "numbers"), [(1, [1]), (2, [1, 7]), (3, [1, 4, 7]), (None, [1, 2, 3, 4, 5, 6, 7])]
)
def test_more_than_the_first(each: int | None, numbers: list[int]) -> None:
    recorder = Recorder(CALLS | DELIVERIES)
    for _ in range(7):
        recorder.call(attempt(Call.POST_MESSAGE, 0x10))
        recorder.delivery(Delivery("timer", 0, None, 0, 0))
    found = texts(recorder, Choice(each=each, statuses=(HvStatus.TIMEOUT,)))
    assert found == [
        *(f"call=PostMessage,nth={number},status=TIMEOUT" for number in numbers),
        "call=PostMessage,status=TIMEOUT",
        *(f"timer=0,vp=0,nth={n},{way}" for n in numbers for way in ("drop", "delay=20ms")),
    ]


def test_lies_of_what_the_guest_has_read() -> None:
    recorder = Recorder(frozenset({PointKind.CPUID}))
    with pytest.raises(InputError, match=r"nothing that is asked for \(cpuid\)"):
        points(recorder)
    recorder.leaves.add(0x4000_0004)
    found = texts(recorder)
    assert {"cpuid=-RELAXED_TIMING", "cpuid=+SYNTHETIC_CLUSTER_IPI", "cpuid=+X2APIC_MSRS"} < set(
        found
    )
    # It is shown in any case, and no call is there to be refused.
    assert "cpuid=+RELAXED_TIMING" not in found
    assert not any("SYNIC" in text for text in found)


def test_buffers_of_what_the_guest_has_used() -> None:
    recorder = Recorder(frozenset({PointKind.BUFFERS}))
    recorder.call(attempt(Call.POST_DEBUG_DATA, 0x10))
    assert texts(recorder) == ["buffer=debug,size=0"]
    recorder.call(attempt(Call.POST_MESSAGE, 0x10))
    assert texts(recorder) == [
        *("buffer=messages,size=0", "buffer=host-messages,size=0", "buffer=debug,size=0")
    ]


def test_only_some_points_spread_over_all() -> None:
    recorder = Recorder(DELIVERIES)
    for vector in range(0x40, 0x4A):
        recorder.delivery(Delivery("interrupt", vector, None, 0, 0))
    numbers = [text.split(",")[0] for text in texts(recorder, Choice(most=4))]
    assert numbers == ["interrupt=0x40", "interrupt=0x43", "interrupt=0x46", "interrupt=0x49"]
    assert len(points(recorder, Choice(most=99))) == 20


def test_no_point_is_a_mistake_that_names_what_there_is() -> None:
    recorder = Recorder(CALLS)
    with pytest.raises(InputError, match="the guest makes no hypercalls"):
        points(recorder)
    recorder.call(attempt(Call.POST_MESSAGE, 0))
    with pytest.raises(InputError, match="the guest calls HvCallPostMessage"):
        points(recorder, Choice(calls=frozenset({Call.SIGNAL_EVENT})))
