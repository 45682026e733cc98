"""Faults on a machine, by its own methods; tests/faults has what each does to a guest."""

from tests.guests.assembly import call, put
from tests.guests.kit import Guest, run_machine

from hypercall.partition.configuration import DEFAULT_RECOMMENDATIONS
from hypercall.tlfs.privileges import Recommendation
from hypercall.trace.events import MachineEvent

FLUSH = f"{call(0x10002, 0, 3)}\n{put('rax')}\n"


def turns_of(*faults: str) -> tuple[int, int]:
    """The turns of a run and its virtual time."""
    machine = Guest(FLUSH).machine()
    turns: list[float] = []

    def poll(seconds: float) -> bool:
        turns.append(seconds)
        return False

    machine.host_poll = poll
    for fault in faults:
        machine.inject(fault)
    run = run_machine(machine)
    return len(turns), run.result.virtual_ns


def test_time_that_a_fault_takes_ends_the_turn() -> None:
    usual, soon = turns_of()
    turns, late = turns_of("call,time=2ms")
    assert turns == usual + 1
    assert late == soon + 2_000_000


def test_a_strike_is_an_event() -> None:
    machine = Guest(FLUSH).machine()
    kinds: list[str] = []
    machine.trace.subscribe(
        lambda event: kinds.append(event.kind) if isinstance(event, MachineEvent) else None,
        MachineEvent,
    )
    machine.inject("call,status=5")
    run_machine(machine)
    assert kinds == ["injected", "debug-exit"]


def test_cpuid_shows_what_it_is_told() -> None:
    hidden = Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH
    text = "mov eax, 0x40000004\nxor ecx, ecx\ncpuid\n" + put("rax")
    machine = Guest(text).machine()
    machine.inject("cpuid=-REMOTE_TLB_FLUSH")
    assert run_machine(machine).words(1) == [int(DEFAULT_RECOMMENDATIONS & ~hidden)]
