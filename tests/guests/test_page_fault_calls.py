"""Enlightened page faults: guest code touches pages that the host has taken out."""

import pytest
from tests.guests import assembly
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import Guest, GuestRun, run_machine
from tests.guests.layout import ASSIST, DATA, FAULT, FAULT_COUNT, IDT, INPUT, OUTPUT

from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.partition.page_faults import BRING_IN_NS

EPF_SETUP = 0x8004
QUEUE = DATA + 0x10000
PAGE = DATA + 0x20000
SET_UP = f"""
    {assembly.write_msr(0x40000073, ASSIST | 1)}
    mov qword ptr [{INPUT}], 1
    mov qword ptr [{INPUT + 8}], {QUEUE >> 12}
    mov qword ptr [{INPUT + 16}], 1
    {assembly.call(EPF_SETUP, INPUT, OUTPUT)}
    {assembly.put("rax")}
"""
FAULT_AREA = ASSIST + 64
TOUCH = f"mov rbx, {PAGE}\nmov rax, [rbx]"
GATE = IDT + 20 * 16


def run(source: str, *pages: int) -> GuestRun:
    machine = Guest(source, memory={PAGE: b"\x77" * 4096}).machine()
    for page in pages:
        machine.evict(page)
    return run_machine(machine)


@pytest.mark.parametrize("mode", ["64", "32"])
def test_setting_up(mode: str) -> None:
    calls = Caller(mode).make(
        Row(EPF_SETUP, (1, QUEUE >> 12, 3)), Row(EPF_SETUP, (2, QUEUE >> 12, 1), INPUT + 0x100)
    )
    assert [answer.result for answer in calls.answers] == [0, 5]
    assert calls.output(1) == [3]


def test_without_setting_up_the_page_just_comes_back() -> None:
    result = run(f"{assembly.put_byte(PAGE)}\n{assembly.put_word(FAULT_COUNT)}", PAGE)
    assert result.words(2) == [0x77, 0]
    assert result.machine.partition.memory.evicted == set()


@pytest.mark.parametrize(
    "access",
    ["mov al, [rbx]", "mov [rbx], al", "inc dword ptr [rbx]", "rep stosb", "call rbx"],
)
def test_every_access_brings_the_page_back(access: str) -> None:
    text = f"mov ebx, {PAGE}\nmov edi, ebx\nmov ecx, 300\ncld\n{access}"
    machine = Guest(text, memory={PAGE: b"\xc3" * 4096}).machine()
    machine.evict(PAGE)
    result = run_machine(machine)
    assert result.machine.partition.memory.evicted == set()


def test_a_fault_and_its_completion() -> None:
    """The access faults with exception 20; the guest polls the queue, then repeats it."""
    source = f"""
        {SET_UP}
        {assembly.write_apic(0xF0, 0x1FF)}
        sti
        {assembly.catch("faulted", TOUCH)}
        {assembly.put_word(FAULT)}
        {assembly.put_word(FAULT_AREA)}
        {assembly.put_word(FAULT_AREA + 8)}
        mov dword ptr [{FAULT_AREA + 4}], 0
        rdtsc
        shl rdx, 32
        or rax, rdx
        mov rbx, rax
        mov edi, {QUEUE}
    waiting:
        mov rax, [rdi]
        cmp rax, [rdi + 8]
        je waiting
        rdtsc
        shl rdx, 32
        or rax, rdx
        sub rax, rbx
        {assembly.put("rax")}
        {assembly.put_word(QUEUE + 8)}
        {assembly.put_word(QUEUE + 16)}
        mov qword ptr [{QUEUE}], 1
        {assembly.put_byte(PAGE)}
        {assembly.put_word(FAULT_COUNT)}
    """
    result = run(source, PAGE)
    words = result.words(9)
    assert words[:4] == [0, 20, 1 << 32, PAGE >> 12]
    assert BRING_IN_NS * 0.9 <= words[4] < BRING_IN_NS * 1.2
    assert words[5:] == [1, PAGE >> 12, 0x77, 1]


def test_a_handler_that_waits_and_returns_repeats_the_access() -> None:
    """An NT-like handler: it consumes the fault, waits for the completion, and returns."""
    source = f"""
        jmp over
    handler:
        mov rax, [rsp + 16]
        cmp rax, 20
        jne unexpected
        mov dword ptr [{FAULT_AREA + 4}], 0
        mov edi, {QUEUE}
    pending:
        mov rax, [rdi]
        cmp rax, [rdi + 8]
        je pending
        inc qword ptr [rdi]
        inc rsi
        pop rbx
        pop rax
        add rsp, 16
        iretq
    unexpected:
        {assembly.leave(1)}
    over:
        {SET_UP}
        {assembly.write_apic(0xF0, 0x1FF)}
        lea rax, [rip + stub]
        mov [{GATE}], ax
        shr rax, 16
        mov [{GATE + 6}], ax
        sti
        mov rbx, {PAGE}
        xor esi, esi
        mov eax, 3
        add rax, [rbx]
        {assembly.put("rax", "rsi")}
        jmp done
    stub:
        push 0
        push 20
        push rax
        push rbx
        jmp handler
    done:
    """
    result = run(source, PAGE)
    assert result.words(3) == [0, 0x7777777777777777 + 3, 1]


def test_with_interrupts_disabled_the_access_waits_instead() -> None:
    result = run(
        f"{SET_UP}\n{assembly.put_byte(PAGE)}\n{assembly.put_word(FAULT_COUNT)}"
        f"\n{assembly.put_word(QUEUE + 8)}",
        PAGE,
    )
    assert result.words(4) == [0, 0x77, 0, 0]


def test_a_hint_that_a_page_is_hot_brings_it_in() -> None:
    def prepare(machine: Machine) -> None:
        machine.evict(PAGE)
        assert machine.partition.memory.evicted != set()

    calls = Caller(prepare=prepare).make(Row(0x8003 | 1 << 32, (1, PAGE)))
    assert calls.only.result == 0x1_0000_0000
    assert calls.run.machine.partition.memory.evicted == set()


def test_what_is_no_ram_cannot_be_taken_out() -> None:
    machine = Guest("nop").machine()
    with pytest.raises(InputError, match="no RAM at 0x40000000"):
        machine.evict(0x40000000)


def test_a_stack_that_is_out_when_an_interrupt_comes() -> None:
    """The processor stores to the stack before the handler runs: the page comes in at once."""
    source = f"""
        {SET_UP}
        {assembly.write_apic(0xF0, 0x1FF)}
        {assembly.write_apic(0x3E0, 0xB)}
        {assembly.write_apic(0x320, 0xE1)}
        mov rbx, rsp
        mov rsp, {PAGE + 0x800}
        sti
        {assembly.write_apic(0x380, 20_000)}
        mov ecx, 1000000
    spinning:
        sub ecx, 1
        jnz spinning
        cli
        mov rsp, rbx
        {assembly.put_word(FAULT_COUNT)}
        {assembly.put_word(FAULT_AREA)}
    """
    machine = Guest(source).machine()
    machine.partition.timers.schedule(50_000, lambda: machine.evict(PAGE))
    result = run_machine(machine)
    assert result.words(3) == [0, 0, 0]
    assert result.interrupts() == {0xE1: 1}
    assert machine.partition.memory.evicted == set()
