import pytest
from tests.guests.assembly import start_others
from tests.guests.kit import MEMORY, Guest

from hypercall.machine.machine import Machine
from hypercall.partition.effects import TranslationFlush
from hypercall.partition.virtual_processor import RunState
from hypercall.tlfs.registers import RegisterName

PAGE = 4096


def machine(text: str = "ret", cpus: int = 2) -> Machine:
    return Guest(text, cpus).machine()


def test_only_the_boot_processor_runs_at_first() -> None:
    world = machine()
    assert world.processors.runnable() == {world.partition.bootstrap}


def test_after_a_start_up_message_everybody_runs_or_rests() -> None:
    world = machine(f"{start_others(1)}\nforever:\njmp forever")
    world.run(5_000_000)
    boot, other = world.partition.processors
    assert other.run_state is RunState.RUNNING
    assert world.processors.halted == {other}
    assert world.processors.runnable() == {boot}


def test_an_interrupt_wakes_and_an_untakable_one_does_not() -> None:
    world = machine(f"{start_others(1)}\nforever:\njmp forever")
    world.run(5_000_000)
    other = world.partition.processors[1]
    woken = []
    world.processors.on_wake = lambda: woken.append(1)
    context = world.processors.context(other)
    # With interrupts disabled it rests on.
    world.processors.write_register(other, 0, RegisterName.RFLAGS, 2)
    other.current.apic.request(0x41)
    assert world.processors.halted == {other}
    assert not woken
    world.processors.write_register(other, 0, RegisterName.RFLAGS, 0x202)
    other.current.apic.request(0x51)
    assert world.processors.halted == set()
    assert woken == [1]
    assert world.processors.context(other) == context


def test_an_nmi_wakes() -> None:
    world = machine(f"{start_others(1)}\nforever:\njmp forever")
    world.run(5_000_000)
    other = world.partition.processors[1]
    other.nmi(0)
    assert world.processors.halted == set()


def test_init_stops_and_start_up_starts() -> None:
    world = machine(f"{start_others(1)}\nforever:\njmp forever")
    world.run(5_000_000)
    boot, other = world.partition.processors
    other.init()
    assert world.processors.runnable() == {boot}
    other.start_up(0x9)
    assert world.processors.runnable() == {boot, other}
    assert world.processors.read_register(other, 0, RegisterName.RIP) == 0
    code = world.processors.read_register(other, 0, RegisterName.CS)
    assert code & (1 << 64) - 1 == 0x9000
    assert code >> 96 & 0xFFFF == 0x900


def test_untouched_memory() -> None:
    world = machine(f"mov byte ptr [{0x700000}], 1")
    before = world.processors.untouched_ranges()
    assert any(first <= 0x700 < first + count for first, count in before)
    world.run(5_000_000)
    after = world.processors.untouched_ranges()
    assert not any(first <= 0x700 < first + count for first, count in after)
    assert sum(count for _, count in after) < sum(count for _, count in before)
    assert max(first + count for first, count in after) <= MEMORY // PAGE


@pytest.mark.parametrize("ranges", [None, ((0x1000, 1),), tuple((n << 12, 1) for n in range(99))])
def test_a_flush_of_processors_that_never_ran(
    ranges: tuple[tuple[int, int], ...] | None,
) -> None:
    world = machine()
    targets = tuple(world.partition.processors)
    world.processors.flush_translations(TranslationFlush(targets, 0, None, ranges))
    world.processors.flush_translations(TranslationFlush(targets, 1, None, ranges))
    assert world.run(5_000_000).exit_code == 0


def test_run_time_is_counted_for_who_runs() -> None:
    world = machine("mov ecx, 100000\nagain:\nsub ecx, 1\njnz again")
    result = world.run(50_000_000)
    boot, other = world.partition.processors
    assert world.processors.run_time(boot) == result.virtual_ns
    assert world.processors.run_time(other) == 0
