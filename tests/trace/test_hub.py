import pytest

from hypercall.trace.events import Event, HaltEvent, MachineEvent, MsrEvent, Position
from hypercall.trace.hub import ALL_KINDS, TraceHub

WHERE = Position(5, 0, 0, 0x1000)


def test_a_hub_with_no_subscriber_is_inactive_and_wants_nothing() -> None:
    hub = TraceHub()
    assert not hub.active
    assert not any(hub.wants(kind) for kind in ALL_KINDS)
    hub.emit(HaltEvent(WHERE, True))


def test_only_the_wanted_kinds_arrive() -> None:
    hub = TraceHub()
    seen: list[Event] = []
    hub.subscribe(seen.append, HaltEvent, MachineEvent)
    assert hub.active
    assert hub.wants(HaltEvent)
    assert not hub.wants(MsrEvent)
    halt, machine = HaltEvent(WHERE, True), MachineEvent(WHERE, "reset", "reset by the guest")
    for event in (halt, MsrEvent(WHERE, 0x40000000, 1, True), machine):
        hub.emit(event)
    assert seen == [halt, machine]


def test_no_kinds_means_all_kinds() -> None:
    hub = TraceHub()
    hub.subscribe(lambda event: None)
    assert all(hub.wants(kind) for kind in ALL_KINDS)


def test_subscribers_are_called_in_the_order_of_subscription() -> None:
    hub = TraceHub()
    order: list[str] = []
    hub.subscribe(lambda event: order.append("first"), HaltEvent)
    hub.subscribe(lambda event: order.append("second"), HaltEvent)
    hub.emit(HaltEvent(WHERE, False))
    assert order == ["first", "second"]


def test_unsubscribing_ends_only_that_subscription_and_can_be_repeated() -> None:
    hub = TraceHub()
    seen: list[Event] = []
    first = hub.subscribe(seen.append, HaltEvent)
    second = hub.subscribe(seen.append, HaltEvent)
    first()
    first()
    hub.emit(HaltEvent(WHERE, True))
    assert len(seen) == 1
    second()
    assert not hub.active
    assert not hub.wants(HaltEvent)


def test_a_callback_may_unsubscribe_itself_while_it_is_called() -> None:
    hub = TraceHub()
    calls: list[str] = []

    def once(event: Event) -> None:
        calls.append("once")
        end()

    end = hub.subscribe(once, HaltEvent)
    hub.subscribe(lambda event: calls.append("always"), HaltEvent)
    hub.emit(HaltEvent(WHERE, True))
    hub.emit(HaltEvent(WHERE, True))
    assert calls == ["once", "always", "always"]


def test_for_a_while_only_one_is_told() -> None:
    hub = TraceHub()
    seen: list[Event] = []
    alone: list[Event] = []
    hub.subscribe(seen.append)
    halt, msr = HaltEvent(WHERE, True), MsrEvent(WHERE, 0x40000000, 1, True)
    with hub.only(alone.append, HaltEvent):
        assert not hub.wants(MsrEvent)
        hub.emit(halt)
        hub.emit(msr)
    hub.emit(msr)
    assert (alone, seen) == ([halt], [msr])
    assert hub.active


def test_who_follows_the_machine_is_told_of_what_is_repeated() -> None:
    hub = TraceHub()
    follower: list[Event] = []
    alone: list[Event] = []
    end = hub.subscribe(follower.append, HaltEvent, MsrEvent, follows=True)
    hub.subscribe(lambda event: pytest.fail("this one has heard of it"))
    halt, msr = HaltEvent(WHERE, True), MsrEvent(WHERE, 0x40000000, 1, True)
    with hub.only(alone.append, HaltEvent):
        assert hub.repeating
        hub.emit(halt)
        hub.emit(msr)
    assert (alone, follower) == ([halt], [halt, msr])
    assert not hub.repeating
    end()
    with hub.only(alone.append, HaltEvent):
        hub.emit(halt)
        assert not hub.wants(MsrEvent)
    assert (alone, follower) == ([halt, halt], [halt, msr])


def test_subscriptions_go_back_to_what_they_were() -> None:
    hub = TraceHub()
    heard: list[str] = []
    stays = hub.subscribe(lambda event: heard.append("stays"), MachineEvent)
    go_back = hub.remember()
    leaves = hub.subscribe(lambda event: heard.append("leaves"), MachineEvent, HaltEvent)
    go_back()
    leaves()
    hub.emit(MachineEvent(Position(0, 0, 0, 0), "reset", "reset"))
    assert heard == ["stays"]
    assert not hub.wants(HaltEvent)
    stays()
    assert not hub.active
    go_back()
    assert hub.active
