"""The calls on processors: start one, name one, tell that one spins."""

import struct

import pytest
from tests.guests.assembly import (
    EOI,
    call,
    let_others_run,
    put,
    read_msr,
    start_others,
    wait_until,
)
from tests.guests.contexts import LONG_MODE, PROTECTED_MODE, words_of
from tests.guests.hypercalls import Caller, Calls, Row
from tests.guests.kit import assemble, run_guest
from tests.guests.layout import AP_MAIN, DATA, INPUT, RESULTS, SHARED

from hypercall.partition.configuration import processors_in_order

SHUFFLE = 1
OWN, OTHER = (identity.index for identity in processors_in_order(2, shuffle_vp_index=SHUFFLE))
CODE = DATA
STATE = DATA + 0x1000


def start(code: str, *, bits: int = 64, mode: str = "64", **changes: object) -> Calls:
    """Start the other processor at a piece of code and wait until it says that it has run."""
    context = LONG_MODE if bits == 64 else PROTECTED_MODE
    words = (-1, OTHER, *words_of(context, rip=CODE, **changes))
    text = f"{code}\nmov dword ptr [{SHARED}], 1\nstopped:\nhlt\njmp stopped"
    caller = Caller(
        mode,
        after=wait_until("other_runs", SHARED, 1),
        cpus=2,
        configuration={"shuffle_vp_index": SHUFFLE},
        memory={CODE: assemble(text, CODE, bits)},
    )
    calls = caller.make(Row(0x99, words))
    assert calls.only.result == 0
    return calls


@pytest.mark.parametrize("mode", ["64", "32"])
def test_start_in_long_mode(mode: str) -> None:
    calls = start(
        f"""
        mov [{STATE}], rsp
        mov rax, cr0
        mov [{STATE + 8}], rax
        mov rax, cr3
        mov [{STATE + 16}], rax
        mov rax, cr4
        mov [{STATE + 24}], rax
        mov ecx, 0xC0000080
        rdmsr
        mov [{STATE + 32}], rax
        mov ecx, 0x40000002
        rdmsr
        mov [{STATE + 40}], rax
        mov ax, cs
        mov [{STATE + 48}], rax
        sgdt [{STATE + 56}]
        sidt [{STATE + 72}]
        str ax
        mov [{STATE + 88}], ax
        """,
        mode=mode,
    )
    rsp, cr0, cr3, cr4, efer, index, selector = calls.run.memory_words(STATE, 7)
    assert (rsp, cr0, cr3, cr4) == (LONG_MODE.rsp, LONG_MODE.cr0, LONG_MODE.cr3, LONG_MODE.cr4)
    assert (efer, index, selector & 0xFFFF) == (LONG_MODE.efer, OTHER, LONG_MODE.cs.selector)
    tables = calls.run.memory(STATE + 56, 32)
    assert struct.unpack_from("<HQ", tables) == (LONG_MODE.gdtr.limit, LONG_MODE.gdtr.base)
    assert struct.unpack_from("<HQ", tables, 16) == (LONG_MODE.idtr.limit, LONG_MODE.idtr.base)
    assert calls.run.memory(STATE + 88, 2) == struct.pack("<H", LONG_MODE.tr.selector)


def test_start_in_protected_mode() -> None:
    calls = start(
        f"mov [{STATE}], esp\nmov eax, cr0\nmov [{STATE + 4}], eax\nmov eax, 0x10\n"
        f".byte 0x48\nmov [{STATE + 8}], eax",
        bits=32,
        rsp=0x1A2000,
    )
    # 0x48 is DEC EAX in 32-bit code and a prefix in 64-bit code.
    assert struct.unpack("<3I", calls.run.memory(STATE, 12)) == (0x1A2000, 0x11, 0xF)


def test_the_started_processor_takes_interrupts_and_makes_calls() -> None:
    run = run_guest(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(1)}
        {wait_until("called", SHARED, 1)}
        {call(0x1000B, 0x50, 1 << OTHER)}
        {let_others_run("settle")}
        ret
    application:
        {call(0xBEEF)}
        {put("rax")}
        mov dword ptr [{SHARED}], 1
        ret
        """,
        cpus=2,
        shuffle_vp_index=SHUFFLE,
    )
    assert run.words(1, 1) == [2]
    assert run.interrupts(1) == {0x50: 1}


def test_a_start_up_message_to_all_starts_each_once_with_its_own_identity() -> None:
    run = run_guest(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(3)}
        {let_others_run("settle")}
        ret
    application:
        {read_msr(0x40000002)}
        {put("rax")}
        mov eax, 1
        cpuid
        shr ebx, 24
        {put("rbx")}
        ret
        """,
        cpus=4,
        shuffle_vp_index=4,
    )
    order = processors_in_order(4, shuffle_vp_index=4)
    assert [run.words(2, slot) for slot in (1, 2, 3)] == [
        [identity.index, identity.apic_id] for identity in order[1:]
    ]


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize("form", ["memory", "registers"])
def test_the_index_of_each_apic_id(form: str, mode: str) -> None:
    order = processors_in_order(4, shuffle_vp_index=4)
    caller = Caller(mode, cpus=4, configuration={"shuffle_vp_index": 4})
    if form == "memory":
        calls = caller.make(Row(0x4_0000_009A, (-1, 0, 1 << 32, 3 << 32 | 2)))
        found = calls.output(2)
    elif mode == "32":
        # Register output needs XMM registers, which only 64-bit callers have for it.
        calls = caller.make(Row(0x4_0001_009A, input=2**64 - 1, output=0, xmm=(1 << 32, 3 << 32)))
        assert calls.only.vector == 6
        return
    else:
        xmm = (1 << 32, 3 << 32 | 2)
        calls = caller.make(Row(0x4_0001_009A, input=2**64 - 1, output=0, xmm=xmm))
        found = list(struct.unpack_from("<2Q", calls.only.xmm, 16))
    assert calls.only.result == 0x4_0000_0000
    indexes = [identity.index for identity in order]
    assert found == [indexes[0] | indexes[1] << 32, indexes[2] | indexes[3] << 32]


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize("form", ["memory", "registers"])
def test_a_spinning_processor_yields_its_turn(form: str, mode: str) -> None:
    row = Row(0x8, (100,)) if form == "memory" else Row(0x10008, input=100, output=0)
    # The other processor counts all the time; the caller sees it move between two calls only.
    look = f"mov rax, {SHARED + 8}\nmov rax, [rax]\n{put('rax')}"
    caller = Caller(
        mode,
        before=f"mov qword ptr [{AP_MAIN}], counter\n{start_others(1)}\n{look}",
        after=f"{look}\nret\ncounter:\ncounting:\ninc qword ptr [{SHARED + 8}]\njmp counting",
        cpus=2,
    )
    calls = caller.make(row)
    assert calls.only.result == 0
    before, after = calls.run.words(2)
    assert after - before > 1000


def test_without_the_call_a_short_stretch_of_code_keeps_its_turn() -> None:
    look = f"mov rax, {SHARED + 8}\nmov rax, [rax]\n{put('rax')}"
    run = run_guest(
        f"""
        mov qword ptr [{AP_MAIN}], counter
        {start_others(1)}
        {look}
        {call(0xBEEF)}
        {look}
        ret
    counter:
        inc qword ptr [{SHARED + 8}]
        jmp counter
        """,
        cpus=2,
    )
    before, after = run.words(2)
    assert after == before


def test_the_end_of_interrupt_msr_of_a_started_processor() -> None:
    # Two interrupts of one priority class: the second one comes only after the end of the first.
    run = run_guest(
        f"""
        {start_others(1)}
        {call(0x1000B, 0x51, 0b10)}
        {call(0x1000B, 0x52, 0b10)}
        {let_others_run("settle")}
        """,
        cpus=2,
    )
    assert run.interrupts(1) == {0x51: 1, 0x52: 1}
    assert EOI == 0x40000070
    assert run.memory_words(RESULTS, 1) == [0]
    assert run.memory(INPUT, 8) == bytes(8)
