from typing import Any

import pytest
from tests.guests.assembly import catch, put, read_msr, write_apic, write_msr
from tests.guests.kit import Guest
from tests.guests.layout import IMAGE

from hypercall.cpu.interface import MODE_LONG, MODE_PROTECTED, MODE_VIRTUAL_8086
from hypercall.machine.exits import Caller
from hypercall.machine.machine import Machine
from hypercall.trace.events import CpuidEvent, HaltEvent, InterruptEvent, MsrEvent


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0, (0, False, False)),
        (MODE_PROTECTED, (0, True, False)),
        (MODE_PROTECTED | 3, (3, True, False)),
        (MODE_PROTECTED | MODE_LONG, (0, True, True)),
        (MODE_PROTECTED | MODE_VIRTUAL_8086, (3, True, False)),
    ],
)
def test_the_callers_mode(mode: int, expected: tuple[int, bool, bool]) -> None:
    caller = Caller()
    caller.set_mode(mode)
    assert (caller.cpl, caller.protected_mode, caller.long_mode) == expected


def run(text: str, kind: type[Any]) -> tuple[Machine, list[Any]]:
    machine = Guest(text).machine()
    events: list[Any] = []
    machine.trace.subscribe(lambda event: events.append(event), kind)
    machine.run(100_000_000)
    return machine, events


def test_msr_events() -> None:
    text = f"{read_msr(0x40000002)}\n{catch('refused', write_msr(0x40000002, 5))}"
    _, events = run(text, MsrEvent)
    seen = [(event.index, event.value, event.write, event.fault) for event in events[2:]]
    assert seen == [(0x40000002, 0, False, False), (0x40000002, 5, True, True)]


def test_halts_and_interrupts() -> None:
    text = f"{write_apic(0xF0, 0x1FF)}\n{write_apic(0x300, 0x44055)}\nsti\nhlt\ncli"
    machine, halts = run(text, HaltEvent)
    assert len(halts) >= 1
    _, interrupts = run(text, InterruptEvent)
    assert [event.vector for event in interrupts] == [0x55]
    assert machine.partition.bootstrap.current.apic.isr == 0


def test_a_halt_ends_when_something_wakes_the_processor() -> None:
    # One-shot APIC timer, vector 0x55: the processor rests until it expires.
    timer = f"{write_apic(0x320, 0x55)}\n{write_apic(0x3E0, 0xB)}\n{write_apic(0x380, 100000)}"
    text = f"{write_apic(0xF0, 0x1FF)}\n{timer}\nsti\nhlt\ncli"
    _, halts = run(text, HaltEvent)
    assert [event.halted for event in halts][:2] == [True, False]
    rested, woken = halts[:2]
    assert woken.position.time_ns > rested.position.time_ns
    assert (woken.position.vp_index, woken.position.rip) == (0, rested.position.rip)


def test_an_interrupt_that_is_ready_ends_a_halt_at_once() -> None:
    text = f"{write_apic(0xF0, 0x1FF)}\n{write_apic(0x300, 0x44055)}\nsti\nhlt\ncli"
    _, halts = run(text, HaltEvent)
    rested, woken = halts[:2]
    assert (rested.halted, woken.halted) == (True, False)
    assert woken.position == rested.position


def test_cpuid_has_the_hypervisors_leaves() -> None:
    text = f"mov eax, 0x40000000\nxor ecx, ecx\ncpuid\n{put('rbx', 'rcx', 'rdx')}"
    machine = Guest(text).machine()
    machine.run(100_000_000)
    words = [machine.partition.memory.read_u64(0x1E0000 + 8 * n) for n in range(3)]
    assert b"".join(word.to_bytes(4, "little") for word in words) == b"Microsoft Hv"


def test_cpuid_events() -> None:
    text = "mov eax, 0x40000000\nmov ecx, 7\ncpuid\nmov eax, 0x40000099\ncpuid"
    _, events = run(text, CpuidEvent)
    first, second = events[-2:]
    assert (first.leaf, first.subleaf) == (0x40000000, 7)
    assert first.values == (0x40000006, 0x7263694D, 0x666F736F, 0x76482074)
    assert (second.leaf, second.values) == (0x40000099, (0, 0, 0, 0))
    assert first.position.rip < second.position.rip


def test_the_position_before_anybody_ran() -> None:
    machine = Guest("ret").machine()
    position = machine._exits.position()
    assert (position.time_ns, position.vp_index, position.rip) == (0, 0, IMAGE)
