"""What the processor does beside the library: traps, CR4 and CR8, addresses in MSRs, time."""

import pytest
from tests.guests.assembly import catch, put, put_fault, put_word, read_msr, write_apic, write_msr
from tests.guests.kit import run_guest
from tests.guests.layout import COUNTS, FAULT, IDT, LOCAL_APIC

DR6_SINGLE_STEP = 0x4000
READ_PRIORITY = f"mov eax, {LOCAL_APIC + 0x80:#x}\nmov eax, [rax]"
TRAP_NEXT = "pushfq\nor qword ptr [rsp], 0x100\npopfq"
REFERENCE_COUNTER = 0x40000020


@pytest.mark.parametrize(
    "text",
    [
        "cpuid",
        read_msr(0x1B).splitlines()[1],
        write_msr(0x8B, 0).splitlines()[-1],
        "mov cr4, rbx",
        "mov cr8, rax",
        "mov rax, cr8",
        "nop",
    ],
)
def test_single_step_behind_an_instruction(text: str) -> None:
    run = run_guest(
        f"""
        xor eax, eax
        mov dr6, rax
        mov rbx, cr4
        mov ecx, {0x1B if text == "rdmsr" else 0x8B}
        xor edx, edx
        {catch("stepped", f"{TRAP_NEXT}{chr(10)}{text}{chr(10)}here:{chr(10)}nop")}
        mov rbx, dr6
        lea rax, [rip + here]
        {put("rax", "rbx")}
        {put_word(FAULT + 16)}
        {put_fault()}
        """
    )
    here, status, saved, vector, _ = run.words(5)
    assert (vector, saved) == (1, here)
    assert status & DR6_SINGLE_STEP


def test_single_step_behind_a_hypercall() -> None:
    run = run_guest(
        f"""
        movabs rcx, 0x10008
        xor edx, edx
        {catch("stepped", f"{TRAP_NEXT}{chr(10)}vmcall{chr(10)}here:{chr(10)}nop")}
        lea rax, [rip + here]
        {put("rax")}
        {put_word(FAULT + 16)}
        {put_fault()}
        """
    )
    here, saved, vector, _ = run.words(4)
    assert (vector, saved) == (1, here)


def test_int1_is_a_trap() -> None:
    run = run_guest(
        f"""
        {catch("trapped", "nop" + chr(10) + ".byte 0xF1" + chr(10) + "here:" + chr(10) + "nop")}
        lea rax, [rip + here]
        {put("rax")}
        {put_word(FAULT + 16)}
        {put_fault()}
        """
    )
    here, saved, vector, _ = run.words(4)
    assert (vector, saved) == (1, here)


@pytest.mark.parametrize(
    ("text", "vector"), [("int 0x90", 0x90), ("int3", 3), ("int 4", 4), ("int 0xCC", 0xCC)]
)
def test_a_fault_of_an_interrupt_instruction_returns_to_it(text: str, vector: int) -> None:
    gate = IDT + 16 * vector + 5
    run = run_guest(
        f"""
        mov eax, {gate}
        and byte ptr [rax], 0x7F
        {catch("faulted", "nop" + chr(10) + "here:" + chr(10) + text)}
        lea rax, [rip + here]
        {put("rax")}
        {put_word(FAULT + 16)}
        {put_fault()}
        """
    )
    here, saved, fault, _ = run.words(4)
    assert (fault, saved) == (11, here)


@pytest.mark.parametrize("bit", [11, 12, 13, 14, 16, 17, 18, 22, 23, 32, 63])
def test_bits_that_cr4_does_not_have(bit: int) -> None:
    run = run_guest(
        f"""
        mov rbx, cr4
        movabs rax, {1 << bit}
        or rax, rbx
        {catch("refused", "mov cr4, rax")}
        mov rax, cr4
        xor rax, rbx
        {put("rax")}
        {put_fault()}
        """
    )
    assert run.words(3) == [0, 13, 0]


def test_cr4_keeps_pae_in_long_mode() -> None:
    run = run_guest(
        f"""
        mov rax, cr4
        btr rax, 5
        {catch("refused", "mov cr4, rax")}
        {put_fault()}
        """
    )
    assert run.words(2) == [13, 0]


def test_the_bits_that_cr4_has() -> None:
    run = run_guest(
        f"""
        mov rax, cr4
        xor rax, 0x84
        mov cr4, rax
        mov rbx, cr4
        xor rax, rbx
        {put("rax")}
        """
    )
    assert run.words(1) == [0]


def test_cr8_is_the_task_priority() -> None:
    run = run_guest(
        f"""
        mov r10d, 5
        mov cr8, r10
        {READ_PRIORITY}
        {put("rax")}
        {write_apic(0x80, 0x93)}
        mov r11, cr8
        {put("r11")}
        mov eax, 16
        {catch("refused", "mov cr8, rax")}
        {put_fault()}
        mov rax, cr8
        {put("rax")}
        """
    )
    assert run.words(5) == [0x50, 9, 13, 0, 9]


def test_cr8_holds_interrupts_back() -> None:
    count = COUNTS + 8 * 0x61
    run = run_guest(
        f"""
        {write_apic(0xF0, 0x1FF)}
        mov eax, 6
        mov cr8, rax
        sti
        {write_apic(0x300, 0x40061)}
        nop
        {put_word(count)}
        mov eax, 5
        mov cr8, rax
        nop
        {put_word(count)}
        """
    )
    assert run.words(2) == [0, 1]


@pytest.mark.parametrize(
    "msr", [0x175, 0x176, 0xC0000082, 0xC0000083, 0xC0000100, 0xC0000101, 0xC0000102]
)
def test_msrs_hold_canonical_addresses(msr: int) -> None:
    highest = 0x7FFF_FFFF_FFFF
    run = run_guest(
        f"""
        {write_msr(msr, highest)}
        {catch("low", write_msr(msr, highest + 1))}
        {put_fault()}
        {catch("high", write_msr(msr, 0xFFFF_7FFF_FFFF_FFFF))}
        {put_fault()}
        {read_msr(msr)}
        {put("rax")}
        {write_msr(msr, 0xFFFF_8000_0000_0000)}
        {read_msr(msr)}
        {put("rax")}
        """
    )
    assert run.words(6) == [13, 0, 13, 0, highest, 0xFFFF_8000_0000_0000]


def test_a_segment_base_is_used() -> None:
    run = run_guest(
        f"""
        {write_msr(0xC0000101, IDT)}
        mov rax, gs:[8]
        {put("rax")}
        {put_word(IDT + 8)}
        """
    )
    through_gs, direct = run.words(2)
    assert through_gs == direct


def test_cpuid_tells_whether_the_apic_is_enabled() -> None:
    look = f"mov eax, 1\ncpuid\nshr edx, 9\nand edx, 1\n{put('rdx')}"
    run = run_guest(
        f"""
        {look}
        {read_msr(0x1B)}
        mov rbx, rax
        btr rax, 11
        {write_msr(0x1B)}
        {look}
        mov rax, rbx
        {write_msr(0x1B)}
        {look}
        """
    )
    assert run.words(3) == [1, 0, 1]


def test_reading_a_counter_takes_time() -> None:
    reads = f"mov r12d, 100\nreading:\n{read_msr(REFERENCE_COUNTER)}\ndec r12d\njnz reading"
    run = run_guest(
        f"{read_msr(REFERENCE_COUNTER)}\nmov rbx, rax\n{reads}\nsub rax, rbx\n{put('rax')}"
    )
    (units,) = run.words(1)
    assert 100 <= units * 100 / 512 <= 110


def test_pause_takes_time_where_processors_wait_for_each_other() -> None:
    run = run_guest(
        f"""
        rdtsc
        mov ebx, eax
        mov r12d, 100
    pausing:
        pause
        dec r12d
        jnz pausing
        rdtsc
        sub eax, ebx
        {put("rax")}
        """,
        cpus=2,
    )
    (elapsed,) = run.words(1)
    assert elapsed >= 100 * 128


def test_lines_driven_by_the_guest() -> None:
    """Line 11, edge-triggered at the I/O APIC."""
    count = COUNTS + 8 * 0x62
    io_apic = 0xFEC00000
    select = f"mov eax, {io_apic:#x}\nmov dword ptr [rax]"
    run = run_guest(
        f"""
        {write_apic(0xF0, 0x1FF)}
        {select}, 0x27
        mov dword ptr [rax + 0x10], 0
        {select}, 0x26
        mov dword ptr [rax + 0x10], 0x62
        mov edx, 0x200B
        mov eax, 1
        out dx, al
        sti
        nop
        cli
        {put_word(count)}
        mov edx, 0x200B
        xor eax, eax
        out dx, al
        mov eax, 1
        out dx, al
        sti
        nop
        cli
        {put_word(count)}
        mov eax, 0x12345678
        out 0xE0, eax
        xor eax, eax
        in ax, 0xE2
        {put("rax")}
        """
    )
    assert run.words(3) == [1, 2, 0x1234]


def test_memory_whose_accesses_reach_a_device() -> None:
    run = run_guest(
        f"""
        mov ebx, 0xFF001FF8
        movabs rax, 0x1122334455667788
        mov [rbx], rax
        add dword ptr [rbx + 4], 1
        xchg [rbx + 2], cl
        mov rax, [rbx]
        {put("rax", "rcx")}
        mov rsi, rbx
        mov edi, 0xFF000000
        mov ecx, 8
        rep movsb
        mov rax, 0xFF000000
        mov rax, [rax]
        {put("rax")}
        """
    )
    value, exchanged, moved = run.words(3)
    assert value == moved
    assert value & ~0xFF0000 == 0x1122334555007788
    assert exchanged & 0xFF == 0x66
