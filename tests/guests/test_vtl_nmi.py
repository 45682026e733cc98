"""Non-maskable interrupts of processors with several virtual trust levels."""

import struct

import pytest
from tests.guests.assembly import (
    catch,
    put,
    put_byte,
    put_fault,
    put_word,
    start_others,
    wait_until,
    write_apic,
    write_msr,
)
from tests.guests.kit import assemble
from tests.guests.layout import (
    AP_MAIN,
    CODE_64,
    DATA,
    FAULT,
    IDT,
    RECOVER,
    RECOVER_STACK,
    SHARED,
)
from tests.guests.vtl import (
    ALL,
    READ,
    VINA,
    assist_page,
    begin_vtl,
    enable_protection,
    enable_vp_vtl,
    handle_intercepts,
    intercepts,
    must_succeed,
    protect,
    run_vtls,
    set_register,
    vtl_call,
    vtl_return,
)

ICR = 0x40000071
SELF_NMI = 0x4_4400
NMI = 0x4400
TO_VP_1 = 1 << 56
FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"
ENABLE_APIC = write_apic(0xF0, 0x1FF)


def mark(number: int) -> str:
    return f"mov eax, {number}\n" + put("rax")


def spin(label: str, count: int = 3000) -> str:
    return f"mov ecx, {count}\n{label}:\nnop\nsub ecx, 1\njnz {label}"


def expect_exception(label: str) -> str:
    """Let the next exception go on at a label, at the stack pointer of now."""
    return f"mov [{RECOVER_STACK}], rsp\nmov qword ptr [{RECOVER}], {label}"


@pytest.mark.parametrize("msr", [True, False])
def test_a_non_maskable_interrupt_is_taken_by_the_level_that_sent_it(msr: bool) -> None:
    def take(name: str) -> str:
        send = write_msr(ICR, SELF_NMI) if msr else write_apic(0x300, SELF_NMI)
        return catch(name, f"{send}\nforever_{name}:\njmp forever_{name}") + put_fault()

    run = run_vtls(
        f"{ENABLE_APIC}\n{vtl_call()}\n{mark(10)}\n{take('at_0')}\n{mark(11)}",
        f"{take('at_1')}\n{FOREVER}",
    )
    assert run.words(6) == [2, 0, 10, 2, 0, 11]


def test_each_level_has_its_own_non_maskable_state() -> None:
    """A second NMI of VTL 0 waits for the end of the first, through an NMI and IRET of VTL 1."""
    target, handler = SHARED + 0x40, DATA + 0x8000
    gate = struct.pack("<HHBBHII", handler & 0xFFFF, CODE_64, 0, 0x8E, handler >> 16, 0, 0)
    run = run_vtls(
        f"""
        {ENABLE_APIC}
        {vtl_call()}
        mov r12, rsp
        mov qword ptr [{target}], handler_0
        {write_msr(ICR, SELF_NMI)}
    forever_0:
        jmp forever_0
    handler_0:
        {mark(1)}
        mov qword ptr [{target}], second_0
        {write_msr(ICR, SELF_NMI)}
        {spin("waiting_0", 100)}
        {mark(2)}
        {vtl_call()}
        {mark(3)}
        iretq
    second_0:
        {mark(4)}
        mov rsp, r12
        """,
        f"""
        {vtl_return(1)}
        {mark(20)}
        mov qword ptr [{target}], handler_1
        {write_msr(ICR, SELF_NMI)}
    forever_1:
        jmp forever_1
    handler_1:
        {mark(21)}
        mov qword ptr [{target}], second_0
        mov qword ptr [rsp], behind_1
        iretq
    behind_1:
        {FOREVER}
        """,
        memory={handler: assemble(f"jmp [{target}]", handler), IDT + 16 * 2: gate},
    )
    assert run.words(6) == [1, 2, 20, 21, 3, 4]


@pytest.mark.parametrize("halted", [False, True])
def test_a_non_maskable_interrupt_enters_the_level_of_its_sender(halted: bool) -> None:
    """VP 1 runs VTL 0, or rests there; its VTL 1 has a task priority that holds all others back."""
    waits = "sti\nhlt" if halted else "nop"
    run = run_vtls(
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
        {spin("settle", 20000)}
        {write_msr(ICR, TO_VP_1 | NMI)}
        {wait_until("entered", SHARED, 4)}
        {spin("settle_again", 20000)}
        {FOREVER}
        """,
        functions=f"""
    application:
        cli
        mov dword ptr [{SHARED}], 1
        {wait_until("enabled", SHARED, 2)}
        {vtl_call()}
        mov dword ptr [{SHARED}], 3
    spinning:
        {waits}
        inc dword ptr [{SHARED + 8}]
        jmp spinning
    secure_other:
        {begin_vtl(1, 1)}
        mov eax, 15
        mov cr8, rax
        {expect_exception("taken")}
        {vtl_return(1)}
        {mark(0xBAD)}
    taken:
        {put_word(FAULT)}
        {put_byte(assist_page(1, 1) + 8)}
        mov dword ptr [{SHARED}], 4
        {vtl_return(1)}
        """,
        cpus=2,
    )
    assert run.words(2, slot=1) == [2, 2]
    # Where VTL 0 rested it goes on resting.
    assert (run.memory_words(SHARED + 8, 1)[0] == 0) == halted


@pytest.mark.parametrize("vina", [False, True])
def test_a_non_maskable_interrupt_of_vtl_0_waits_until_it_runs(vina: bool) -> None:
    vector = 0x70
    run = run_vtls(
        f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(1)}
        {vtl_call()}
        {expect_exception("taken")}
        cli
        {vtl_call()}
    forever:
        jmp forever
    taken:
        {put_word(FAULT)}
        """,
        f"""
        {set_register(VINA, vector | vina << 8, own=1)}
        {must_succeed()}
        {vtl_return(1)}
        sti
        mov dword ptr [{SHARED}], 1
        {wait_until("sent", SHARED, 2)}
        {spin("waiting", 20000)}
        cli
        {put_word(0x120000 + 8 * vector)}
        {FOREVER}
        """,
        functions=f"""
    application:
        {wait_until("called", SHARED, 1)}
        {write_msr(ICR, NMI)}
        mov dword ptr [{SHARED}], 2
        ret
        """,
        cpus=2,
    )
    assert run.words(2) == [int(vina), 2]


def test_a_non_maskable_interrupt_whose_frame_goes_to_a_protected_page() -> None:
    """It is delivered once, when VTL 1 has granted the page, and can be followed by another."""
    page = DATA + 0x40000
    run = run_vtls(
        f"""
        {ENABLE_APIC}
        {vtl_call()}
        mov r12, rsp
        mov rsp, {page + 0x800}
        {catch("first", f"{write_msr(ICR, SELF_NMI)}{chr(10)}at_first: jmp at_first")}
        {put_fault()}
        {catch("second", f"{write_msr(ICR, SELF_NMI)}{chr(10)}at_second: jmp at_second")}
        {put_fault()}
        mov rsp, r12
        """,
        f"{enable_protection()}\n{protect(page, READ)}\n{handle_intercepts(protect(page, ALL))}",
    )
    assert run.words(4) == [2, 0, 2, 0]
    assert run.memory_words(0x113030, 1) == [2]
    assert len(intercepts(run)) == 1
