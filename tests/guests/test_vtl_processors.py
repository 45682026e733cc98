"""Virtual trust levels of several processors; ids are those of the case list."""

import struct
from typing import Any

import pytest
from tests.guests.assembly import (
    call,
    let_others_run,
    put,
    start_others,
    wait_until,
    write_apic,
)
from tests.guests.contexts import LONG_MODE, words_of
from tests.guests.kit import GuestRun
from tests.guests.layout import AP_MAIN, DATA, INPUT, SHARED
from tests.guests.vtl import (
    ALL,
    PARTITION_CONFIG,
    READ,
    SECURE_CONFIG_VTL0,
    begin_vtl,
    enable_protection,
    enable_vp_vtl,
    keep_registers,
    message_page,
    must_succeed,
    protect,
    run_vtls,
    set_register,
    stack,
    store,
    vtl_call,
    vtl_return,
)

PAGE = DATA + 0x10000
START = 0x246000
"""An input list of 0x0099."""
FOREVER = "returning:\n" + vtl_return(1) + "\njmp returning"
HALT = "resting:\nsti\nhlt\njmp resting"


def start_words(vp: int, vtl: int, rsp: int) -> bytes:
    words = (vp | vtl << 32, *words_of(LONG_MODE, rsp=rsp))
    return struct.pack("<q29Q", -1, *words)


def start(entry: str) -> str:
    """Make the call whose list is at START, at a label; the result is in RAX."""
    return f"mov rax, {entry}\nmov r11, {START + 16}\nmov [r11], rax\n{call(0x99, START)}"


def run_two(normal: str, secure: str, functions: str = "", **rest: Any) -> GuestRun:
    return run_vtls(normal, secure, functions=functions, **{"cpus": 2, **rest})


def test_only_vtl_1_enables_itself_on_further_processors_a091_a092() -> None:
    run = run_two(
        f"{enable_vp_vtl(1, 'secure_other', 1, 1)}\n{put('rax')}\n{vtl_call()}",
        f"""
        {enable_vp_vtl(1, "secure_other", 1, 1)}
        {put("rax")}
        {enable_vp_vtl(1, "secure_other", 1, 1)}
        {put("rax")}
        {FOREVER}
        """,
        "secure_other:\nhlt",
    )
    assert run.words(3) == [6, 0, 0x86]


@pytest.mark.parametrize("vtl", [0, 1])
def test_a_processor_starts_in_each_level(vtl: int) -> None:
    """One that is prepared in VTL 1 runs there first, whichever level it is started in."""
    run = run_two(
        f"{vtl_call()}\n{wait_until('both', SHARED + 16, 2)}",
        f"""
        {enable_vp_vtl(1, "secure_other", 1, 1)}
        {must_succeed()}
        {start("other" if vtl == 0 else "secure_other")}
        {put("rax")}
        {FOREVER}
        """,
        f"""
    secure_other:
        {begin_vtl(1, 1)}
        mov dword ptr [{SHARED + 8}], esp
        mov dword ptr [{SHARED + 16}], 1
        {"" if vtl == 0 else f"mov dword ptr [{SHARED + 16}], 2"}
        {vtl_return(1)}
    other:
        mov dword ptr [{SHARED + 16}], 2
        {HALT}
        """,
        memory={START: start_words(1, vtl, stack(0, 5))},
    )
    assert run.words(1) == [0]
    expected = stack(1, 1) if vtl == 0 else stack(0, 5)
    assert run.memory_words(SHARED + 8, 1) == [expected]


def test_deny_lower_vtl_startup() -> None:
    run = run_two(
        f"""
        {vtl_call()}
        {start("other")}
        {put("rax")}
        {write_apic(0xF0, 0x1FF)}
        {write_apic(0x300, 0xC4500)}
        {write_apic(0x300, 0xC4608)}
        {let_others_run("waiting")}
        mov eax, [{SHARED}]
        {put("rax")}
        """,
        f"{set_register(PARTITION_CONFIG, ALL << 1 | 1 << 6, own=1)}\n{must_succeed()}\n{FOREVER}",
        f"other:\nmov dword ptr [{SHARED}], 1\nhlt",
        memory={START: start_words(1, 0, stack(0, 5))},
    )
    assert run.words(2) == [6, 0]
    assert run.memory_words(0x113048, 1) == [0]  # no processor has come up by messages either


def test_init_and_start_up_messages_are_dropped_where_vtl_1_is_enabled() -> None:
    run = run_two(
        f"""
        {vtl_call()}
        {write_apic(0xF0, 0x1FF)}
        {write_apic(0x300, 0xC4500)}
        {write_apic(0x300, 0xC4608)}
        {let_others_run("waiting")}
        """,
        f"{enable_vp_vtl(1, 'secure_other', 1, 1)}\n{must_succeed()}\n{FOREVER}",
        "secure_other:\nhlt",
    )
    assert run.memory_words(0x113048, 1) == [0]


def test_an_ipi_of_vtl_1_enters_it_on_the_other_processor_a108() -> None:
    """VP 1 runs VTL 0 code with interrupts off, and is called into VTL 1 by VP 0's."""
    send = f"{write_apic(0x310, 1 << 24)}\n{write_apic(0x300, 0x4061)}"
    run = run_two(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(1)}
        {wait_until("running", SHARED, 1)}
        {vtl_call()}
        """,
        f"""
        {enable_vp_vtl(1, "secure_other", 1, 1)}
        {must_succeed()}
        mov dword ptr [{SHARED}], 2
        {wait_until("ready", SHARED, 3)}
        {send}
        {wait_until("entered", SHARED, 4)}
        {FOREVER}
        """,
        f"""
    application:
        cli
        mov dword ptr [{SHARED}], 1
        {wait_until("enabled", SHARED, 2)}
        {vtl_call()}
        mov dword ptr [{SHARED}], 3
    spinning:
        jmp spinning
    secure_other:
        {begin_vtl(1, 1)}
        {vtl_return(1)}
        sti
        nop
        mov dword ptr [{SHARED}], 4
        cli
        hlt
        """,
    )
    assert run.interrupts(1) == {0x61: 1}


def other_guard(slot: int) -> str:
    """VTL 1 of another processor: it counts its messages, and returns once they are granted."""
    handler = f"""
        sti
        nop
        nop
        cli
        mov eax, {message_page(1, slot)}
        mov dword ptr [rax], 0
        lock inc dword ptr [{SHARED + 24}]
        {wait_until(f"granted_{slot}", SHARED + 32, 1)}
    """
    return f"""
    guard_{slot}:
        {begin_vtl(1, slot)}
    guarding_{slot}:
        {vtl_return()}
        {keep_registers(handler)}
        jmp guarding_{slot}
    """


@pytest.mark.parametrize("cpus", [2, 4])
def test_a_protection_holds_on_every_processor(cpus: int) -> None:
    """VTL 1 of VP 0 protects a page that the others have stored to; each of them is held."""
    others = range(1, cpus)
    enabled = "\n".join(
        f"{enable_vp_vtl(1, f'guard_{slot}', slot, slot)}\n{must_succeed()}" for slot in others
    )
    run = run_two(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(cpus - 1)}
        {vtl_call()}
        mov dword ptr [{SHARED + 40}], 1
        {wait_until("all_stored", SHARED, cpus - 1)}
        {vtl_call()}
        mov dword ptr [{SHARED + 8}], 1
        {wait_until("all_told", SHARED + 24, cpus - 1)}
        mov eax, [{SHARED + 16}]
        {put("rax")}
        {vtl_call()}
        {wait_until("all_done", SHARED + 16, cpus - 1)}
        """,
        f"""
        {enabled}
        {vtl_return(1)}
        {enable_protection()}
        {protect(PAGE, READ)}
        {vtl_return(1)}
        {protect(PAGE, ALL)}
        mov dword ptr [{SHARED + 32}], 1
        {FOREVER}
        """,
        f"""
    application:
        {wait_until("enabled", SHARED + 40, 1)}
        {vtl_call()}
        mov rbx, {PAGE}
        lock inc qword ptr [rbx]
        lock inc dword ptr [{SHARED}]
        {wait_until("protected", SHARED + 8, 1)}
        lock inc qword ptr [rbx]
        lock inc dword ptr [{SHARED + 16}]
        cli
        hlt
        {"".join(other_guard(slot) for slot in others)}
        """,
        cpus=cpus,
    )
    assert run.words(1) == [0]
    assert run.memory_words(PAGE, 1) == [2 * (cpus - 1)]
    assert run.memory_words(SHARED + 24, 1) == [cpus - 1]


@pytest.mark.parametrize("control", [0x2, 0x3])
@pytest.mark.parametrize("release", ["register", "return"])
def test_a_flush_waits_for_the_tlb_lock_a098(control: int, release: str) -> None:
    """VTL 1 of VP 0 locks; VP 1 flushes VP 0, and goes on when the lock is gone."""
    flush = call(0x2, INPUT) if control == 2 else call(0x1_0000_0003, INPUT)
    unlock = set_register(SECURE_CONFIG_VTL0, 0, own=1) if release == "register" else ""
    run = run_two(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {store(INPUT, 0)}
        {store(INPUT + 8, 2)}
        {store(INPUT + 16, 1)}
        {store(INPUT + 24, 0x400000)}
        {start_others(1)}
        {vtl_call()}
        {wait_until("flushed", SHARED + 8, 1)}
        """,
        f"""
        {set_register(SECURE_CONFIG_VTL0, 2, own=1)}
        {must_succeed()}
        mov dword ptr [{SHARED}], 1
        {let_others_run("locked", 4000)}
        mov eax, [{SHARED + 8}]
        {put("rax")}
        {unlock}
        {let_others_run("unlocked", 4000)}
        mov eax, [{SHARED + 8}]
        {put("rax")}
        {FOREVER}
        """,
        f"""
    application:
        pause
        cmp dword ptr [{SHARED}], 1
        jne application
        {flush}
        mov [{SHARED + 16}], rax
        mov dword ptr [{SHARED + 8}], 1
        cli
        hlt
        """,
    )
    assert run.words(2) == [0, 1 if release == "register" else 0]
    assert run.memory_words(SHARED + 16, 1) == [0 if control == 2 else 1 << 32]
