import pytest
from tests.guests.kit import Guest

from hypercall.abi.dispatcher import Dispatcher
from hypercall.machine.console import Console
from hypercall.machine.machine import Machine
from hypercall.partition.run_state import RunState
from hypercall.partition.timers import TimerHandle, TimerQueue
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.snapshot.object_state import attributes, has_state, is_frozen, referred
from hypercall.trace.hub import TraceHub


@pytest.mark.parametrize("kind", [TimerQueue, VirtualProcessor, Console, Machine])
def test_objects_of_the_machine_have_state(kind: type) -> None:
    assert has_state(kind)
    assert not is_frozen(kind)


@pytest.mark.parametrize("kind", [int, str, RunState, Dispatcher, TraceHub, type])
def test_others_have_none(kind: type) -> None:
    assert not has_state(kind)


def test_attributes_with_and_without_slots() -> None:
    assert attributes(TimerHandle(5, None)) == {"at": 5, "callback": None}
    assert {"timers", "partition"} & attributes(Guest("ret").machine()).keys() == {"partition"}


def test_who_listens_is_no_state() -> None:
    machine = Guest("ret").machine()
    assert not {"trace", "host_poll", "_engine"} & attributes(machine).keys()
    assert "output" not in attributes(machine.console)


def test_what_is_no_function_refers_to_nothing() -> None:
    assert list(referred(5)) == []
