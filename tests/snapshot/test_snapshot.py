import gc
import hashlib
import os
from pathlib import Path

import pytest
from tests.guests.assembly import call, leave, put
from tests.guests.kit import Guest
from tests.guests.layout import DATA, SHARED, WINDOW
from tests.guests.paging import USER_PAGE, window
from tests.guests.vtl import vtl_call, vtl_guest, vtl_return
from tests.machine.small_guests import race

from hypercall.errors import HypercallError, InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult, StopReason
from hypercall.trace.events import Event, HypercallEvent

SECOND = 1_000_000_000

RACE = race(
    20000,
    between=f"""
    test r12d, 0x3FF
    jnz silent
    {call(8)}
silent:
""",
)


class Observed:
    """A machine with everything that it tells."""

    def __init__(self, text: str) -> None:
        self.watch(Guest(text, 4, True, {"seed": 7}).machine())

    def watch(self, machine: Machine) -> None:
        self.machine = machine
        self.events: list[str] = []
        self.machine.trace.subscribe(lambda event: self.events.append(repr(event)))

    @classmethod
    def watching(cls, machine: Machine) -> "Observed":
        observed = cls.__new__(cls)
        observed.watch(machine)
        return observed

    def finish(self) -> tuple[RunResult, bytes]:
        result = self.machine.run(SECOND)
        assert result.reason is StopReason.DEBUG_EXIT
        return result, hashlib.sha256(self.machine.partition.memory.ram).digest()


def same(first: RunResult, second: RunResult) -> bool:
    """Whether two runs ended in the same way, but for the host's time."""
    return (first.reason, first.virtual_ns, first.executed, first.exits) == (
        second.reason,
        second.virtual_ns,
        second.executed,
        second.exits,
    )


def test_a_restored_run_is_the_unbroken_one() -> None:
    unbroken = Observed(RACE)
    expected, memory = unbroken.finish()
    observed = Observed(RACE)
    machine = observed.machine
    snapshots = []
    for part in (1, 2, 3):
        machine.run(expected.virtual_ns * part // 4)
        # The end of a run is an event, which the unbroken one had only once.
        observed.events.pop()
        snapshots.append((machine.snapshot(), list(observed.events)))
    for snapshot, events in [*snapshots, *reversed(snapshots)]:
        machine.restore(snapshot)
        assert machine.time_ns == snapshot.time_ns
        observed.events[:] = events
        result, digest = observed.finish()
        assert same(result, expected)
        assert digest == memory
        assert observed.events == unbroken.events


def test_a_snapshot_at_an_event() -> None:
    observed = Observed(RACE)
    machine = observed.machine
    seen: list[int] = []

    def pause_at_the_tenth(event: Event) -> None:
        seen.append(event.position.time_ns)
        if len(seen) == 10:
            machine.pause()

    machine.trace.subscribe(pause_at_the_tenth, HypercallEvent)
    assert machine.run(SECOND).reason is StopReason.PAUSED
    snapshot = machine.snapshot()
    first = observed.finish()
    times = seen[10:]
    machine.restore(snapshot)
    del seen[10:]
    second = observed.finish()
    assert same(first[0], second[0])
    assert seen[10:] == times


def test_code_and_translations_go_back_too() -> None:
    # The guest replaces an instruction, and a page behind an address, without a flush: what it
    # has executed and translated by then must be forgotten, what it had before must be back.
    text = f"""
        mov rsi, {SHARED}
        mov rbx, {WINDOW}
        {call(8)}
        xor edi, edi
    again:
    patched:
        mov al, 1
        mov [rsi + rdi], al
        mov al, [rbx]
        mov [rsi + rdi + 2], al
        lea r11, [rip + patched]
        mov byte ptr [r11 + 1], 2
        inc edi
        cmp edi, 2
        jb again
        {leave()}
    """
    pages = window(DATA | USER_PAGE) | {DATA: b"\x55"}
    machine = Guest(text, memory=pages).machine()
    memory = machine.partition.memory

    def pause(event: Event) -> None:
        machine.pause()

    machine.trace.subscribe(pause, HypercallEvent)
    assert machine.run(SECOND).reason is StopReason.PAUSED
    snapshot = machine.snapshot()
    code = bytes(memory.ram)
    assert machine.run(SECOND).reason is StopReason.DEBUG_EXIT
    assert memory.read(SHARED, 4) == b"\x01\x02\x55\x55"
    for _ in range(2):
        machine.restore(snapshot)
        assert bytes(memory.ram) == code
        assert machine.run(SECOND).reason is StopReason.DEBUG_EXIT
        assert memory.read(SHARED, 4) == b"\x01\x02\x55\x55"


def test_observers_and_outputs_stay() -> None:
    machine = Guest("mov dx, 0x3F8\nmov al, 'A'\nout dx, al\nmov al, 10\nout dx, al").machine()
    snapshot = machine.snapshot()
    heard: list[bytes] = []
    machine.console.output.append(heard.append)
    events: list[Event] = []
    machine.trace.subscribe(events.append)
    machine.run(SECOND)
    machine.restore(snapshot)
    machine.run(SECOND)
    assert b"".join(heard) == b"A\nA\n"
    assert len([event for event in events if type(event).__name__ == "ConsoleEvent"]) == 2


def test_what_observers_count_goes_back_if_they_ask_for_it() -> None:
    machine = Guest(call(8)).machine()
    counted: list[int] = []
    kept: list[int] = []
    machine.state_holders.append(counted)
    machine.trace.subscribe(lambda event: counted.append(1), HypercallEvent)
    machine.trace.subscribe(lambda event: kept.append(1), HypercallEvent)
    snapshot = machine.snapshot()
    machine.run(SECOND)
    machine.restore(snapshot)
    machine.run(SECOND)
    assert (len(counted), len(kept)) == (1, 2)


def test_a_snapshot_of_another_machine_is_refused() -> None:
    first, second = Guest("ret").machine(), Guest("ret").machine()
    with pytest.raises(InputError, match="another machine's"):
        second.restore(first.snapshot())


def test_a_machine_on_the_hosts_clock_has_none() -> None:
    machine = Machine(MachineConfiguration(memory=2 << 20, time="host"))
    with pytest.raises(InputError, match="virtual time"):
        machine.snapshot()


def children() -> int:
    """How many processes this one has made that are still there."""
    return len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.mark.parametrize("let_go", ["close", "forget"])
def test_the_process_that_holds_the_memory_ends_with_the_snapshot(let_go: str) -> None:
    machine = Guest("ret").machine()
    gc.collect()
    before = children()
    snapshot = machine.snapshot()
    assert children() == before + 1
    if let_go == "close":
        snapshot.close()
    else:
        del snapshot
        gc.collect()
    assert children() == before


def test_a_closed_snapshot_is_refused() -> None:
    machine = Guest("ret").machine()
    snapshot = machine.snapshot()
    snapshot.close()
    machine.run(SECOND)
    with pytest.raises(HypercallError, match="snapshot"):
        machine.restore(snapshot)


def test_trust_levels_go_back() -> None:
    step = "inc rbx\n" + put("rbx")
    machine = vtl_guest(
        f"{vtl_call()}\n{step}\n{vtl_call()}\n{step}",
        f"{step}\n{vtl_return(1)}\n{step}\n{vtl_return(1)}",
    ).machine()
    snapshot = machine.snapshot()
    first = machine.run(SECOND)
    memory = bytes(machine.partition.memory.ram)
    machine.restore(snapshot)
    assert set(machine.partition.vtls) == {0}
    second = machine.run(SECOND)
    assert same(first, second)
    assert bytes(machine.partition.memory.ram) == memory
    assert len(machine.partition.vtls) > 1
