import pytest
from tests.guests import assembly
from tests.guests.kit import Guest
from tests.guests.layout import AP_MAIN, DATA

from hypercall.machine.machine import Machine
from hypercall.machine.processor_state import Activity, ProcessorState
from hypercall.machine.result import StopReason

MILLISECOND = 1_000_000


def stopped(text: str, cpus: int = 1, limit_ns: int = 20 * MILLISECOND) -> Machine:
    machine = Guest(text, cpus).machine()
    assert machine.run(limit_ns).reason in (StopReason.LIMIT, StopReason.DEADLOCK)
    return machine


def only(text: str) -> ProcessorState:
    (state,) = stopped(text).processor_states()
    return state


def test_one_that_spins_runs_with_the_addresses_that_it_came_from() -> None:
    machine = stopped("cli\ncall outer\nouter:\nsub rsp, 24\ncall inner\ninner:\njmp inner")
    (state,) = machine.processor_states()
    assert (state.activity, state.interrupts_enabled, state.user) == (
        Activity.RUNNING,
        False,
        False,
    )
    inner, outer, *_ = state.return_addresses
    # Both calls go to the next instruction.
    assert inner == state.rip
    assert outer == inner - 5 - 4
    assert (state.requested, state.in_service, state.deadline_ns) == ((), (), None)


@pytest.mark.parametrize(
    "call",
    [
        *("call rax", "call r11", "call qword ptr [rax]", "call qword ptr [rax + 8]"),
        *("call qword ptr [rsp + 8]", "call qword ptr [rax + 0x1000]"),
        "call qword ptr [rsp + 0x1000]",
    ],
)
def test_every_form_of_a_call_leaves_a_return_address(call: str) -> None:
    text = f"""
        lea rax, [rip + inner]
        mov r11, rax
        mov [rsp - 0x100], rax
        mov [{DATA}], rax
        mov [{DATA} + 8], rax
        mov [{DATA} + 0x1000], rax
        mov [rsp + 0x1000], rax
        mov [rsp + 8], rax
        {"mov eax, " + str(DATA) if "[rax" in call else ""}
        {call}
    after:
        hlt
    inner:
        jmp inner
    """
    state = only(text)
    assert state.return_addresses
    assert state.return_addresses[0] == state.rip - 1


def test_one_that_rests_for_ever_is_halted_with_interrupts_off() -> None:
    state = only("cli\nhlt")
    assert (state.activity, state.interrupts_enabled) == (Activity.HALTED, False)


def test_what_waits_for_it_is_shown() -> None:
    text = f"""
        cli
        mov edi, 0xFEE000F0
        mov dword ptr [rdi], 0x1FF
        {assembly.write_msr(0x40000071, 0x41)}
        {assembly.write_msr(0x40000071, 0x55)}
        {assembly.write_msr(0x400000B1, 500_000)}
        {assembly.write_msr(0x400000B0, 1 | 0x60 << 4 | 1 << 12)}
    loop: jmp loop
    """
    state = only(text)
    assert state.requested == (0x55, 0x41)
    assert state.deadline_ns == 50 * MILLISECOND


def test_the_idle_msr_and_a_processor_that_nobody_started() -> None:
    first, second = stopped("cli\nmov ecx, 0x400000F0\nrdmsr", cpus=2).processor_states()
    assert (first.vp_index, first.activity) == (0, Activity.IDLE)
    assert (second.vp_index, second.activity) == (1, Activity.NOT_STARTED)
    assert second.return_addresses == ()


def test_looking_changes_nothing() -> None:
    text = f"""
        mov qword ptr [{AP_MAIN}], other
        {assembly.start_others(1)}
    first:
        {assembly.call(0x10008, 0x100, 0)}
        jmp first
    other:
        pause
        jmp other
    """
    alone, watched = Guest(text, 2).machine(), Guest(text, 2).machine()
    for step in range(1, 11):
        watched.run(step * MILLISECOND)
        assert watched.processor_states() == watched.processor_states()
    alone.run(10 * MILLISECOND)
    assert alone.processor_states() == watched.processor_states()
    assert alone.exit_counts() == watched.exit_counts()
