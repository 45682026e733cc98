"""Code that changes: by itself, through another name, by another processor, by the hypervisor."""

import struct
from collections.abc import Mapping

import pytest
from tests.guests.assembly import call, follow_steps, put, put_fault, start_others, step
from tests.guests.kit import assemble, run_guest
from tests.guests.layout import AP_MAIN, DATA, WINDOW
from tests.guests.paging import USER_PAGE, window

ONE = assemble("mov eax, 1\nret", DATA)
"""A function; the byte at offset 1 is what it returns."""
RUN = f"mov eax, {DATA}\ncall rax\n{put('rax')}"


def test_the_same_block_changes_what_follows() -> None:
    run = run_guest(
        f"""
        lea rbx, [rip + changed + 1]
        jmp changing
    changing:
        mov byte ptr [rbx], 7
    changed:
        mov eax, 1
        {put("rax")}
        """
    )
    assert run.words(1) == [7]


def test_a_loop_that_changes_itself() -> None:
    run = run_guest(
        f"""
        lea rbx, [rip + changed + 1]
        mov ecx, 50
        xor esi, esi
    again:
        mov [rbx], cl
    changed:
        mov eax, 0
        add esi, eax
        sub ecx, 1
        jnz again
        {put("rsi")}
        """
    )
    assert run.words(1) == [sum(range(1, 51))]


@pytest.mark.parametrize("name", [DATA, WINDOW], ids=["same-page", "alias"])
def test_a_function_that_was_changed(name: int) -> None:
    memory = window(DATA | USER_PAGE) | {DATA: ONE}
    change = f"mov ebx, {name + 1}\ninc byte ptr [rbx]"
    run = run_guest(f"{RUN}\n{change}\n{RUN}\n{change}\n{RUN}", memory=memory)
    assert run.words(3) == [1, 2, 3]


def test_a_function_that_was_changed_often() -> None:
    """More often than the engine watches the stores to a page of code."""
    run = run_guest(
        f"""
        mov r12d, 100
        xor r13d, r13d
    again:
        mov ebx, {DATA + 1}
        mov [rbx], r12b
        mov eax, {DATA}
        call rax
        add r13d, eax
        sub r12d, 1
        jnz again
        {put("r13")}
        """,
        memory={DATA: ONE},
    )
    assert run.words(1) == [sum(range(1, 101))]


def test_code_and_data_in_one_page() -> None:
    run = run_guest(
        f"""
        mov r12d, 1000
    again:
        mov ebx, {DATA + 0x800}
        inc qword ptr [rbx]
        mov eax, {DATA}
        call rax
        sub r12d, 1
        jnz again
        {put("rax")}
        mov rax, [rbx]
        {put("rax")}
        """,
        memory={DATA: ONE},
    )
    assert run.words(2) == [1, 1000]


@pytest.mark.parametrize("width", ["b", "q"])
def test_code_that_a_string_instruction_wrote(width: str) -> None:
    two = assemble("mov eax, 2\nret", DATA).ljust(4096, b"\xcc")
    count = 4096 if width == "b" else 512
    copy = f"mov ecx, {count}\nmov esi, {DATA + 0x1000}\nmov edi, {DATA}\nrep movs{width}"
    run = run_guest(f"{RUN}\n{copy}\n{RUN}", memory={DATA: ONE, DATA + 0x1000: two})
    assert run.words(2) == [1, 2]


def test_code_across_two_pages() -> None:
    start = DATA + 0xFFE
    execute = f"mov eax, {start}\ncall rax\n{put('rax')}"
    run = run_guest(
        f"{execute}\nmov ebx, {DATA + 0x1001}\nmov byte ptr [rbx], 5\n{execute}\n"
        f"mov ebx, {start + 1}\nmov byte ptr [rbx], 9\n{execute}",
        memory={start: ONE},
    )
    assert run.words(3) == [1, 5 << 16 | 1, 5 << 16 | 9]


def test_a_remapped_page_of_code() -> None:
    two = assemble("mov eax, 2\nret", DATA)
    execute = f"mov eax, {WINDOW}\ncall rax\n{put('rax')}"
    remap = f"mov rax, {DATA + 0x1000 | USER_PAGE}\nmov rbx, 0x3C0000\nmov [rbx], rax"
    run = run_guest(
        f"{execute}\n{remap}\ninvlpg [{WINDOW}]\n{execute}",
        memory=window(DATA | USER_PAGE) | {DATA: ONE, DATA + 0x1000: two},
    )
    assert run.words(2) == [1, 2]


def test_code_that_another_processor_wrote() -> None:
    write = f"mov ebx, {DATA + 1}\ninc byte ptr [rbx]"
    run = run_guest(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(1)}
        {RUN}
        {step(1)}
        {RUN}
        {step(2)}
        {RUN}
        ret
    application:
        {follow_steps(write)}
        """,
        cpus=2,
        memory={DATA: ONE},
    )
    assert run.words(3) == [1, 2, 3]


def test_code_that_both_processors_ran_and_one_wrote() -> None:
    memory: Mapping[int, bytes] = {DATA: ONE}
    work = f"{RUN}\nmov ebx, {DATA + 1}\ninc byte ptr [rbx]"
    run = run_guest(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(1)}
        {RUN}
        {step(1)}
        {RUN}
        {step(2)}
        {RUN}
        ret
    application:
        {follow_steps(work)}
        """,
        cpus=2,
        memory=memory,
    )
    assert run.words(3, 0) == [1, 2, 3]
    assert run.words(2, 1) == [1, 2]


def test_a_hypercalls_output_over_code_runs_as_new_code() -> None:
    # The index of APIC id 3 is 3: the immediate operand of the function becomes 3.
    run = run_guest(
        f"{RUN}\n{call(1 << 32 | 0x9A, 0x210000, DATA + 8)}\n"
        f"mov eax, {DATA + 7}\ncall rax\n{put('rax')}",
        cpus=4,
        memory={
            DATA: ONE,
            DATA + 7: b"\xb8\x09\x00\x00\x00\xc3",
            0x210000: struct.pack("<QQQ", 2**64 - 1, 0, 3),
        },
    )
    assert run.words(2) == [1, 3]


def test_an_undefined_opcode_has_its_own_address() -> None:
    text = f"""
        mov qword ptr [0x113038], after
        mov [0x113040], rsp
        mov eax, 5
        nop
    bad:
        ud2
    after:
        mov qword ptr [0x113038], 0
        {put_fault()}
        lea rax, [rip + bad]
        mov rbx, 0x113010
        sub rax, [rbx]
        {put("rax")}
    """
    assert run_guest(text).words(3) == [6, 0, 0]
