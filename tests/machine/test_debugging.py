import pytest
from tests.guests import assembly
from tests.guests.kit import Guest
from tests.guests.layout import AP_MAIN

from hypercall.errors import InputError
from hypercall.machine.debugging import (
    MOST_BREAKPOINTS,
    Access,
    StopKind,
    Watchpoint,
)
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.trace.events import Event

COUNTER = 0x90_0000
# Two processors add to the same word, each in a loop; then the first one ends the run.
SOURCE = f"""
    mov qword ptr [{AP_MAIN}], other
    {assembly.start_others(1)}
    mov ebx, 60
first_loop:
    lock add dword ptr [{COUNTER:#x}], 1
    rdtsc
    xor edi, eax
    pause
    {assembly.call(0x10008, 0x100, 0)}
    sub ebx, 1
    jnz first_loop
    {assembly.wait_until("others", COUNTER, 120)}
    {assembly.leave()}
other:
    mov ebx, 60
other_loop:
    lock add dword ptr [{COUNTER:#x}], 1
    rdtsc
    xor edi, eax
    pause
    sub ebx, 1
    jnz other_loop
    cli
    hlt
"""


def machine() -> tuple[Machine, list[Event]]:
    made = Guest(SOURCE, cpus=2).machine()
    events: list[Event] = []
    made.trace.subscribe(events.append)
    return made, events


def finish(made: Machine) -> list[tuple[StopKind, int, int]]:
    """Run to the end; return kind, VP index and RIP of each stop."""
    stops: list[tuple[StopKind, int, int]] = []
    while True:
        result = made.run(200_000_000)
        if result.reason is not StopReason.DEBUGGER:
            assert result.reason is StopReason.DEBUG_EXIT, result
            assert made.debugging.stop is None
            return stops
        stop = made.debugging.stop
        assert stop is not None
        stops.append((stop.kind, stop.vp.index, made.debugging.linear_pc(stop.vp)))


def unbroken() -> tuple[Machine, list[str]]:
    made, events = machine()
    assert finish(made) == []
    return made, [str(event) for event in events]


def test_stops_of_two_processors_leave_the_trace_as_it_is() -> None:
    reference, expected = unbroken()
    made, events = machine()
    made.debugging.watchpoints = [Watchpoint(COUNTER, 4, Access.WRITE)]
    stops = finish(made)
    assert [str(event) for event in events] == expected
    assert made.time_ns == reference.time_ns
    assert made.partition.memory.ram == reference.partition.memory.ram
    # Each stop is behind one of the two additions.
    places = {(index, rip) for _, index, rip in stops}
    assert {index for index, _ in places} == {0, 1}
    assert len(places) == 2
    assert len(stops) == 120

    made, events = machine()
    made.debugging.breakpoints = {rip for _, rip in places}
    again = finish(made)
    assert [str(event) for event in events] == expected
    assert [(index, rip) for _, index, rip in again] == [(index, rip) for _, index, rip in stops]
    assert {kind for kind, _, _ in again} == {StopKind.BREAKPOINT}


def test_a_step_is_of_one_processor() -> None:
    _, expected = unbroken()
    made, events = machine()
    made.debugging.watchpoints = [Watchpoint(COUNTER, 4, Access.WRITE)]
    assert made.run().reason is StopReason.DEBUGGER
    made.debugging.watchpoints = []
    for vp in (made.vp(1), made.vp(0), made.vp(1)):
        before = made.debugging.linear_pc(vp)
        made.debugging.step(vp)
        assert made.run().reason is StopReason.DEBUGGER
        assert made.debugging.stop is not None
        assert made.debugging.stop.kind is StopKind.STEP
        assert made.debugging.stop.vp is vp
        assert made.debugging.linear_pc(vp) != before
    assert finish(made) == []
    assert [str(event) for event in events] == expected


def test_a_step_can_be_given_up() -> None:
    made, _ = machine()
    made.debugging.step(made.vp(1))
    made.debugging.give_up_step()
    assert finish(made) == []


def test_positions_ascend_and_can_be_gone_to() -> None:
    made, _ = machine()
    made.debugging.watchpoints = [Watchpoint(COUNTER, 4, Access.WRITE)]
    positions = []
    while made.run().reason is StopReason.DEBUGGER:
        positions.append(made.debugging.position)
    assert positions == sorted(set(positions))
    # Between blocks there is no instruction that could be aimed at.
    target = next(position for position in positions[30:] if position[1] != 1 << 64)
    made, _ = machine()
    made.debugging.run_to(target)
    assert made.run().reason is StopReason.DEBUGGER
    assert made.debugging.position == target
    assert made.debugging.in_block
    made.debugging.run_to(None)
    assert finish(made) == []


def test_what_cannot_be_stopped_at_is_refused() -> None:
    debugging = machine()[0].debugging
    with pytest.raises(InputError, match="below 2"):
        debugging.breakpoints = {1 << 64}
    with pytest.raises(InputError, match="at most"):
        debugging.breakpoints = range(MOST_BREAKPOINTS + 1)
    for address, length in ((0, 0), (-1, 4), ((1 << 64) - 1, 2)):
        with pytest.raises(InputError, match="no range"):
            debugging.watchpoints = [Watchpoint(address, length, Access.READ)]
    with pytest.raises(InputError, match="32 watchpoints"):
        debugging.watchpoints = [Watchpoint(at, 1, Access.READ) for at in range(33)]
    assert debugging.breakpoints == frozenset()
    assert debugging.watchpoints == ()
