"""Exceptions, interrupts and system calls: what they leave on the stack and how they return."""

import struct

import pytest
from tests.guests.assembly import (
    back_to_64,
    catch,
    put,
    put_fault,
    put_word,
    write_apic,
    write_msr,
)
from tests.guests.kit import run_guest
from tests.guests.layout import (
    CODE_64,
    DATA,
    DATA_64,
    FAULT,
    KERNEL_STACK,
    SHARED,
    USER_CODE_32,
    USER_CODE_64,
    USER_DATA,
)

STAR, LSTAR, CSTAR, SFMASK = 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084
USER_STACK = KERNEL_STACK - 0x8000
ENABLE_SYSCALL = "\n".join(
    (
        "mov ecx, 0xC0000080\nrdmsr\nor eax, 1\nwrmsr",
        write_msr(STAR, USER_CODE_32 << 48 | CODE_64 << 32),
        write_msr(SFMASK, 0x700),
    )
)


def to_user(label: str, code: int = USER_CODE_64, flags: int = 0x3202) -> str:
    return (
        f"push {USER_DATA | 3}\npush {USER_STACK}\npush {flags}\npush {code | 3}\n"
        f"push {label}\niretq"
    )


@pytest.mark.parametrize(
    ("text", "vector", "error"),
    [
        ("xor ecx, ecx\nxor edx, edx\nmov eax, 1\ndiv ecx", 0, 0),
        ("ud2", 6, 0),
        ("int3", 3, 0),
        ("mov ax, 0x1000\nmov ds, ax", 13, 0x1000),
        ("mov ax, 0x5F\nmov ds, ax", 13, 0x5C),
        ("movabs rax, 0x800000000000\njmp rax", 13, 0),
        ("mov ecx, 0x12345\nrdmsr", 13, 0),
        ("mov ecx, 0x40000002\nxor eax, eax\nxor edx, edx\nwrmsr", 13, 0),
        ("xor ecx, ecx\nrdpmc", 13, 0),
        ("monitor", 6, 0),
        ("mov rax, cr0\nor rax, 8\nmov cr0, rax\nfninit", 7, 0),
        ("ltr ax", 13, 0x1000),
    ],
    ids=lambda value: value.split("\n")[-1] if isinstance(value, str) else str(value),
)
def test_exception(text: str, vector: int, error: int) -> None:
    before = "mov eax, 0x1000\n" if text.startswith("ltr") else ""
    run = run_guest(f"{before}{catch('tried', text)}\nclts\n{put_fault()}")
    assert run.words(2) == [vector, error]


@pytest.mark.parametrize(
    ("text", "length"),
    [("ud2", 0), ("int3", 1), ("int 6", 2), (f"mov rbx, {DATA}\nmov rbx, [rbx + rax]", 0)],
    ids=["fault", "trap", "interrupt", "page"],
)
def test_the_saved_instruction_pointer(text: str, length: int) -> None:
    lines = text.split("\n")
    before, last = "\n".join(lines[:-1]), lines[-1]
    run = run_guest(
        f"""
        mov rax, 0x100000000
        {catch("tried", f"{before}{chr(10)}here:{chr(10)}{last}")}
        lea rax, [rip + here]
        {put("rax")}
        {put_word(FAULT + 16)}
        """
    )
    here, saved = run.words(2)
    assert saved - here == length


def test_system_call_and_return() -> None:
    run = run_guest(
        f"""
        {ENABLE_SYSCALL}
        {write_msr(LSTAR, "system_call")}
        mov r14, rsp
        {to_user("user")}
    user:
        mov rdi, 41
        syscall
    returned:
        mov r12, rax
        mov r13, rsp
        mov ax, cs
        movzx ebx, ax
        pushfq
        pop r11
        syscall
    system_call:
        cmp rdi, 41
        jne second
        mov r8, rcx
        mov r9, r11
        mov ax, cs
        movzx r10d, ax
        inc rdi
        mov rax, rdi
        pushfq
        pop rsi
        sysret
    second:
        mov rsp, r14
        {put("r12", "rbx", "r10", "rsi", "r9", "r13")}
        lea rax, [rip + returned]
        sub rax, r8
        {put("rax")}
        """
    )
    value, user_code, kernel_code, kernel_flags, saved_flags, stack, distance = run.words(7)
    assert value == 42
    assert (user_code, kernel_code) == (USER_CODE_64 | 3, CODE_64)
    assert kernel_flags & 0x700 == 0
    assert saved_flags & 0x3202 == 0x3202
    assert stack == USER_STACK
    assert distance == 0


def test_a_system_call_without_the_feature_is_undefined() -> None:
    run = run_guest(f"{catch('tried', 'syscall')}\n{put_fault()}")
    assert run.words(1) == [6]


def test_an_interrupt_instruction_of_user_code() -> None:
    run = run_guest(
        f"""
            jmp behind_hook
        hook:
            inc dword ptr [{SHARED}]
            ret
        behind_hook:
            mov qword ptr [0x114000 + 8 * 0x80], hook
            {
            catch(
                "came_back",
                to_user("user")
                + '''
        user:
            int 0x80
            int 0x80
            mov r12, rsp
            hlt''',
            )
        }
            {put("r12")}
            {put_fault()}
        """
    )
    assert run.words(3) == [USER_STACK, 13, 0]
    assert run.memory_words(SHARED, 1) == [2]


def test_a_privileged_vector_from_user_code() -> None:
    text = catch("refused", to_user("user") + "\nuser:\nint 0x40")
    vector, error = run_guest(f"{text}\n{put_fault()}").words(2)
    assert vector == 13
    # Bit 1: the error code names an entry of the IDT. The engine does not give its right number.
    assert error & 7 == 2


def test_32_bit_user_code() -> None:
    run = run_guest(
        f"""
        {ENABLE_SYSCALL}
        {write_msr(CSTAR, "narrow_call")}
        mov r14, rsp
        {to_user("narrow", USER_CODE_32)}
        .code32
    narrow:
        mov eax, 0x12345678
        inc eax
        push eax
        pop ebx
        .byte 0x0F, 0x05
        .code64
    narrow_call:
        mov rsp, r14
        mov ax, cs
        movzx eax, ax
        {put("rax", "rbx")}
        """
    )
    assert run.words(2) == [CODE_64, 0x12345679]


def test_a_fault_in_32_bit_user_code() -> None:
    text = catch("faulted", to_user("narrow", USER_CODE_32) + "\n.code32\nnarrow:\nhlt\n.code64")
    run = run_guest(f"{text}\n{put_fault()}\n{put_word(FAULT + 32)}")
    assert run.words(3) == [13, 0, USER_CODE_32 | 3]


def test_kernel_32_bit_code_and_back() -> None:
    run = run_guest(
        f"""
        push 8
        push narrow
        retfq
        .code32
    narrow:
        mov eax, cs
        {back_to_64("wide")}
    wide:
        mov ebx, cs
        {put("rax", "rbx")}
        """
    )
    assert run.words(2) == [8, CODE_64]


def test_an_interrupt_of_user_code_and_its_return() -> None:
    """The timer interrupts a loop of user code; registers and flags are as they were."""
    run = run_guest(
        f"""
        {write_apic(0xF0, 0x1FF)}
        {write_apic(0x320, 0x20060)}
        {write_apic(0x3E0, 0xB)}
        {write_apic(0x380, 2_000)}
        {
            catch(
                "came_back",
                to_user("user")
                + '''
    user:
        mov ecx, 100000
        xor eax, eax
        mov r12, 0x1122334455667788
    counting:
        add rax, 3
        sub ecx, 1
        jnz counting
        mov r13, rax
        mov rbx, rsp
        hlt''',
            )
        }
        cli
        {put("r12", "r13", "rbx")}
        """
    )
    assert run.words(3) == [0x1122334455667788, 300_000, USER_STACK]
    assert run.interrupts()[0x60] > 10


def test_single_steps() -> None:
    """With TF set there is a debug exception behind each instruction."""
    run = run_guest(
        f"""
        {
            catch(
                "stepped",
                '''
        pushfq
        or dword ptr [rsp], 0x100
        popfq
    first:
        nop
    second:
        nop
        nop''',
            )
        }
        lea rax, [rip + second]
        {put("rax")}
        {put_word(FAULT)}
        {put_word(FAULT + 16)}
        """
    )
    second, vector, rip = run.words(3)
    assert (vector, rip) == (1, second)


def test_a_stack_switch_to_the_task_state_segment() -> None:
    text = catch("refused", to_user("user") + "\nuser:\nhlt")
    run = run_guest(f"{text}\n{put_word(FAULT + 40)}")
    assert run.words(1) == [USER_STACK]
    # RIP, CS, RFLAGS, RSP and SS of user code lie at the top of the kernel's stack.
    frame = struct.unpack("<5Q", run.memory(KERNEL_STACK - 40, 40))
    # The kit has put its own there to come back, but for the stack segment's neighbours.
    assert frame[1] == CODE_64
    assert frame[4] == DATA_64


def test_the_interrupt_shadow_of_sti() -> None:
    """Between STI and HLT no interrupt comes, so that HLT cannot miss it."""
    run = run_guest(
        f"""
        {write_apic(0xF0, 0x1FF)}
        {write_apic(0x300, 0x44050)}
        sti
        mov rbx, {0x120000 + 8 * 0x50}
        mov rax, [rbx]
        mov rcx, [rbx]
        cli
        {put("rax", "rcx")}
        """
    )
    assert run.words(2)[1] == 1
