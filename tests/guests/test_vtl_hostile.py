"""Two levels that make random calls: VTL 0 gets nothing of what VTL 1 keeps, and none is lost."""

import random
import struct

import pytest
from tests.guests.kit import run_machine
from tests.guests.layout import DATA, FAULT_COUNT, HYPERCALL_PAGE, INPUT, RECOVER, RECOVER_STACK
from tests.guests.test_hostile import CODES, CODES_TABLE, NEXT_RANDOM
from tests.guests.vtl import (
    assist_page,
    enable,
    enable_protection,
    must_succeed,
    protect,
    skip_instruction,
    vtl_call,
    vtl_guest,
    vtl_return,
)

SECRET = DATA + 0x30000
OUTPUT = DATA + 0x20000
PATTERN = bytes.fromhex("5ec2e7a15ec2e7b2")
LIMIT_NS = 10_000_000
# All but the writes of registers and the start of processors, with which VTL 0 loses itself.
TABLE = struct.pack(
    "<16H", *(code for code in CODES if code not in (0x51, 0x99)), *[0xC, 0xD, 0xE, 0xF]
)


def random_call(name: str, table: int) -> str:
    """One random call whose parameters lie, half of the time, in the input and secret pages."""
    return f"""
        mov qword ptr [{RECOVER}], {name}_done
        mov [{RECOVER_STACK}], rsp
        {NEXT_RANDOM}
        mov rcx, rax
        shr rax, 33
        and eax, 15
        movzx eax, word ptr [rax * 2 + {table}]
        mov cx, ax
        movabs rax, 0x00030007001FFFFF
        and rcx, rax
        {NEXT_RANDOM}
        mov rdx, rax
        {NEXT_RANDOM}
        mov r8, rax
        and edx, 0xFF8
        and r8d, 0xFF8
        add r8d, {OUTPUT}
        test eax, 0x40000000
        jz {name}_secret
        add edx, {INPUT}
        jmp {name}_call
    {name}_secret:
        add edx, {SECRET}
    {name}_call:
        mov eax, {HYPERCALL_PAGE}
        call rax
    {name}_done:
    """


@pytest.mark.parametrize("seed", [1, 2])
def test_random_calls_of_two_levels(seed: int) -> None:
    words = random.Random(seed).randbytes(8192)
    guest = vtl_guest(
        f"""
        mov r14, {seed * 0x1234567}
        {vtl_call()}
        mov r13d, 5000
    again:
        {random_call("low", CODES_TABLE)}
        mov rax, {SECRET}
        xor r12d, r12d
        mov r12, [rax]
        mov rax, {OUTPUT}
        mov [rax], r12
        {vtl_call()}
        sub r13d, 1
        jnz again
        """,
        f"""
        {enable_protection()}
        {protect(SECRET, 0)}
        {vtl_return(1)}
    secure_again:
        sti
        nop
        cli
        push r13
        push r12
        mov eax, {assist_page(1) + 8}
        cmp dword ptr [rax], 1
        je without_intercept
        {skip_instruction(3).replace(must_succeed(), "")}
    without_intercept:
        {random_call("high", CODES_TABLE + 0x40)}
        pop r12
        pop r13
        {vtl_return(1)}
        jmp secure_again
        """,
        memory={
            CODES_TABLE: TABLE + bytes(32) + TABLE[:24] + struct.pack("<4H", 8, 8, 0x51, 0x50),
            INPUT: words,
            SECRET: PATTERN * 512,
        },
    )
    machine = guest.machine()
    run = run_machine(machine, LIMIT_NS, expect=None)
    (vp,) = machine.partition.processors
    assert run.result.exits["hypercalls"] > 1000
    assert vp.active_vtl in vp.vtls
    assert machine.processors.context(vp) >= 0
    assert run.memory_words(FAULT_COUNT, 1)[0] < 20_000
    # Nothing of the page has come to where VTL 0 could read it.
    for page in range(0, 0x600000, 4096):
        data = machine.partition.memory.read(page, 4096)
        assert PATTERN not in data, hex(page)
    assert PATTERN not in machine.partition.memory.read(OUTPUT, 8192)
    assert machine.partition.memory.read(SECRET, 8, 1) == PATTERN


def test_debug_registers_of_two_levels() -> None:
    """Each level sets and clears a breakpoint of its own; the second context is made meanwhile."""
    arm = "mov eax, 0x123456\nmov dr0, rax\nmov eax, 0x401\nmov dr7, rax\n"
    clear = "mov eax, 0x10400\nmov dr7, rax\nmov eax, 0x400\nmov dr7, rax\n"
    normal = [arm, enable(1, "secure"), vtl_call(), clear, vtl_call()]
    secure = [clear, arm, clear, vtl_return(1), clear, vtl_return(1)]
    machine = vtl_guest("\n".join(normal), "\n".join(secure), enabled=False).machine()
    assert machine.run(LIMIT_NS).exit_code == 0
