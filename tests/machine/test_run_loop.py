import hashlib
import time

import pytest
from tests.guests.assembly import call, leave
from tests.guests.layout import DATA, SHARED
from tests.machine.small_guests import LOOP, SECOND, flat, machine_with, race

from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult, StopReason
from hypercall.tlfs.calls import Call
from hypercall.trace.events import (
    Event,
    HypercallEvent,
    MachineEvent,
)
from hypercall.trace.hub import ALL_KINDS


class TestEnds:
    """One guest for each reason."""

    def test_limit(self) -> None:
        result = flat(LOOP).run(1_000_000)
        assert result.reason is StopReason.LIMIT
        assert 1_000_000 <= result.virtual_ns < 1_000_100

    def test_deadlock(self) -> None:
        assert flat(bytes.fromhex("faf4")).run().reason is StopReason.DEADLOCK

    def test_interrupted(self) -> None:
        machine = flat(LOOP)
        machine.interrupt()
        assert machine.run(SECOND).reason is StopReason.INTERRUPTED

    def test_until(self) -> None:
        machine = machine_with(f"again:\ninc qword ptr [{SHARED}]\njmp again")
        memory = machine.partition.memory
        result = machine.run(SECOND, until=lambda: memory.read_u64(SHARED) > 10)
        assert result.reason is StopReason.UNTIL
        assert result.virtual_ns < 50_000_000


class TestRuns:
    def test_a_run_goes_on(self) -> None:
        machine = machine_with(f"again:\ninc qword ptr [{SHARED}]\njmp again")
        counts = []
        for limit in (1_000_000, 2_000_000, 3_000_000):
            assert machine.run(limit).reason is StopReason.LIMIT
            counts.append(machine.partition.memory.read_u64(SHARED))
        assert 0 < counts[0] < counts[1] < counts[2]

    def test_cut_into_pieces_it_is_the_same_run(self) -> None:
        text = f"mov ecx, 100000\nagain:\nadd [{SHARED}], rcx\nsub ecx, 1\njnz again"
        whole, pieces = machine_with(text), machine_with(text)
        expected = whole.run(SECOND)
        for limit in range(10_000, 2_000_000, 10_000):
            result = pieces.run(limit)
            if result.reason is not StopReason.LIMIT:
                break
        assert result.reason is expected.reason is StopReason.DEBUG_EXIT
        assert result.virtual_ns == expected.virtual_ns
        assert pieces.partition.memory.read_u64(SHARED) == whole.partition.memory.read_u64(SHARED)

    def test_counts(self) -> None:
        result = machine_with(f"{call(0xBEEF)}\n{call(0xBEEF)}\ncpuid").run(SECOND)
        assert result.exits["hypercalls"] == 2
        assert result.exits["cpuid"] == 2
        assert result.executed > 0


RACE = race(30000)


class TestDeterminism:
    def run(self, seed: int) -> tuple[RunResult, bytes, list[str]]:
        machine = machine_with(RACE, 4, seed)
        events: list[str] = []
        machine.trace.subscribe(lambda event: events.append(repr(event)))
        result = machine.run(SECOND)
        assert result.reason is StopReason.DEBUG_EXIT
        digest = hashlib.sha256(machine.partition.memory.ram).digest()
        return result, digest, events

    def test_the_same_seed_twice(self) -> None:
        first, second = self.run(7), self.run(7)
        assert first[0].virtual_ns == second[0].virtual_ns
        assert first[0].exits == second[0].exits
        assert first[1] == second[1]
        assert first[2] == second[2]

    def test_two_seeds_differ(self) -> None:
        assert self.run(7)[1] != self.run(8)[1]

    @pytest.mark.parametrize("step", [7_001, 50_000, 333_333])
    def test_pieces_of_time_are_the_same_run(self, step: int) -> None:
        whole = self.run(7)
        machine = machine_with(RACE, 4, 7)
        events: list[str] = []
        machine.trace.subscribe(
            lambda event: events.append(repr(event)), *(set(ALL_KINDS) - {MachineEvent})
        )
        limit = step
        while (result := machine.run(limit)).reason is StopReason.LIMIT:
            limit += step
        assert limit > 3 * step
        assert result.exits == whole[0].exits
        assert result.virtual_ns == whole[0].virtual_ns
        assert hashlib.sha256(machine.partition.memory.ram).digest() == whole[1]
        assert events == [event for event in whole[2] if "MachineEvent" not in event]

    def test_pauses_at_events_do_not_change_the_run(self) -> None:
        whole = self.run(7)
        machine = machine_with(RACE, 4, 7)
        events: list[str] = []

        def pause(event: Event) -> None:
            events.append(repr(event))
            machine.pause()

        machine.trace.subscribe(pause)
        pauses = 0
        while (result := machine.run(SECOND)).reason is StopReason.PAUSED:
            pauses += 1
        assert pauses > 3
        assert result.virtual_ns == whole[0].virtual_ns
        assert hashlib.sha256(machine.partition.memory.ram).digest() == whole[1]
        assert events == whole[2]


def test_a_pause_at_a_call_comes_before_the_next_block() -> None:
    machine = machine_with(
        f"mov byte ptr [{DATA}], 1\n{call(8)}\nmov byte ptr [{DATA}], 2\n{leave()}"
    )

    @machine.on(Call.NOTIFY_LONG_SPIN_WAIT)
    def called(event: HypercallEvent) -> None:
        machine.pause()

    assert machine.run(SECOND).reason is StopReason.PAUSED
    assert machine.partition.memory.read(DATA, 1) == b"\1"
    assert machine.run(SECOND).reason is StopReason.DEBUG_EXIT
    assert machine.partition.memory.read(DATA, 1) == b"\2"


def test_host_time() -> None:
    results = []
    for kind in ("virtual", "host"):
        before = time.monotonic_ns()
        machine = Machine(MachineConfiguration(memory=2 << 20, time=kind))
        machine.load(LOOP, image_format="flat")
        result = machine.run(20_000_000)
        passed = time.monotonic_ns() - before
        assert result.reason is StopReason.LIMIT
        results.append((result.virtual_ns == result.executed, result.virtual_ns <= passed))
    # Time by executed code is that, however fast the host; the host's can be no more than passed.
    assert results[0][0]
    assert results[1] == (False, True)


def test_a_host_poll_keeps_a_resting_guest_alive() -> None:
    machine = flat(bytes.fromhex("faf4"))
    asked: list[float] = []

    def poll(seconds: float) -> bool:
        asked.append(seconds)
        if seconds > 1:
            machine.interrupt()
        return False

    machine.host_poll = poll
    assert machine.run().reason is StopReason.INTERRUPTED
    assert asked[0] == 0.0
    assert asked[-1] == float("inf")
