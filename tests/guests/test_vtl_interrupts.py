"""Interrupts of several virtual trust levels of one processor; ids are those of the case list."""

import struct

import pytest
from tests.guests.assembly import (
    call,
    catch,
    leave,
    put,
    put_byte,
    put_fault,
    put_word,
    read_msr,
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
    LOCAL_APIC,
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
    enable,
    enable_protection,
    enable_vp_vtl,
    handle_intercepts,
    intercepts,
    message_page,
    must_succeed,
    protect,
    run_vtls,
    set_register,
    store,
    vtl_call,
    vtl_return,
)

ICR = 0x40000071
REASON = put_byte(assist_page(1) + 8)
TAKE = "sti\nnop\nnop\ncli"
FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"
SELF_IPI = 0x4_4000


def mark(number: int) -> str:
    return f"mov eax, {number}\n" + put("rax")


def spin(label: str, count: int = 3000) -> str:
    return f"mov ecx, {count}\n{label}:\nnop\nsub ecx, 1\njnz {label}"


def apic_timer(vector: int, count: int) -> str:
    return f"{write_apic(0x320, vector)}\n{write_apic(0x3E0, 0xB)}\n{write_apic(0x380, count)}"


SYNIC = f"""
    {write_apic(0xF0, 0x1FF)}
    {write_msr(0x40000083, message_page(0) | 1)}
    {write_msr(0x40000080, 1)}
    {write_msr(0x40000092, 0x52)}
"""


@pytest.mark.parametrize("flags", ["cli", "sti"])
@pytest.mark.parametrize("source", ["apic", "direct", "message"])
def test_a_timer_of_vtl_1_enters_it_whatever_vtl_0_does_a105(source: str, flags: str) -> None:
    vector = 0x50
    arm = {
        "apic": apic_timer(vector, 4000),
        "direct": f"{write_msr(0x400000B0, 1 << 12 | vector << 4 | 8)}\n{relative_count()}",
        "message": f"{write_msr(0x40000092, vector)}\n{write_msr(0x400000B0, 2 << 16 | 8)}\n"
        f"{relative_count()}",
    }[source]
    run = run_vtls(
        f"{vtl_call()}\n{flags}\n{mark(1)}\n{spin('spinning', 60000)}\ncli\n{mark(2)}",
        f"{arm}\n{vtl_return(1)}\n{REASON}\n{TAKE}\n{put_word(message_page(1) + 0x200)}\n{FOREVER}",
    )
    first, reason, message, last = run.words(4)
    assert (first, reason, last) == (1, 2, 2)
    assert run.interrupts() == {vector: 1}
    assert message & 0xFFFFFFFF == (0x80000010 if source == "message" else 0)


def relative_count() -> str:
    """Let synthetic timer 0 expire 200 units of 100 ns from now."""
    return f"{read_msr(0x40000020)}\nadd rax, 200\n{write_msr(0x400000B1)}"


@pytest.mark.parametrize("source", ["apic", "direct", "message", "ipi"])
def test_an_interrupt_of_vtl_0_waits_until_it_runs_a106(source: str) -> None:
    vector = 0x51
    arm = {
        "apic": apic_timer(vector, 100),
        "direct": f"{write_msr(0x400000B0, 1 << 12 | vector << 4 | 8)}\n{relative_count()}",
        "message": f"{write_msr(0x40000092, vector)}\n{write_msr(0x400000B0, 2 << 16 | 8)}\n"
        f"{relative_count()}",
        "ipi": "",
    }[source]
    from_1 = f"{store(0x210000, vector | 0x10 << 32)}\n{store(0x210008, 1)}\n" + (
        f"{call(0xB, 0x210000)}\n{must_succeed()}"
    )
    count = put_word(0x120000 + 8 * vector)
    run = run_vtls(
        f"{SYNIC}\n{vtl_call()}\n{arm}\nsti\n{vtl_call()}\nnop\n{count}\ncli",
        f"{vtl_return(1)}\n{from_1 if source == 'ipi' else ''}\nsti\n"
        f"{spin('waiting', 60000)}\n{count}\n{FOREVER}",
    )
    assert run.words(2) == [0, 1]


def test_the_task_priority_of_the_higher_level_holds_its_interrupts_back() -> None:
    run = run_vtls(
        f"{vtl_call()}\n{mark(1)}\n{spin('spinning', 60000)}\n{mark(2)}\n{vtl_call()}\n{mark(3)}",
        f"""
        mov eax, 8
        mov cr8, rax
        {apic_timer(0x51, 1000)}
        {vtl_return(1)}
        {REASON}
        xor eax, eax
        mov cr8, rax
        {TAKE}
        {FOREVER}
        """,
    )
    assert run.words(4) == [1, 2, 1, 3]
    assert run.interrupts() == {0x51: 1}


def test_the_task_priority_of_the_lower_level_does_not_count() -> None:
    run = run_vtls(
        f"{vtl_call()}\nmov eax, 15\nmov cr8, rax\n{spin('spinning', 60000)}\n{mark(2)}",
        f"{apic_timer(0x51, 1000)}\n{vtl_return(1)}\n{REASON}\n{TAKE}\n{FOREVER}",
    )
    assert run.words(2) == [2, 2]
    assert run.interrupts() == {0x51: 1}


def test_a_pending_interrupt_enters_again_at_once_b104() -> None:
    run = run_vtls(
        f"{vtl_call()}\n{mark(1)}",
        f"{write_msr(ICR, SELF_IPI | 0x60)}\ncli\n{vtl_return(1)}\n{REASON}\n{TAKE}\n{FOREVER}",
    )
    assert run.words(2) == [2, 1]
    assert run.interrupts() == {0x60: 1}


@pytest.mark.parametrize("msr", [True, False])
def test_an_icr_write_stays_in_its_level(msr: bool) -> None:
    def send(vector: int) -> str:
        command = SELF_IPI | vector
        return write_msr(ICR, command) if msr else write_apic(0x300, command)

    run = run_vtls(
        f"{SYNIC}\n{send(0x61)}\n{vtl_call()}\n{mark(1)}\n{TAKE}\n{mark(2)}",
        f"{send(0x60)}\n{TAKE}\n{put_word(0x120000 + 8 * 0x61)}\n"
        f"{put_word(0x120000 + 8 * 0x60)}\n{FOREVER}",
    )
    assert run.words(4) == [0, 1, 1, 2]
    assert run.interrupts() == {0x60: 1, 0x61: 1}


def test_the_apic_of_a_new_level_a096_a097() -> None:
    run = run_vtls(
        f"{SYNIC}\n{vtl_call()}\n{read_msr(0x1B)}\n{put('rax')}\n"
        f"{write_apic(0x300, SELF_IPI | 0x61)}\n{TAKE}",
        f"""
        {read_msr(0x1B)}
        {put("rax")}
        mov eax, {LOCAL_APIC + 0x20}
        mov eax, [rax]
        {put("rax")}
        {write_msr(0x1B, 0xFEE00100)}
        {read_msr(0x1B)}
        {put("rax")}
        {FOREVER}
        """,
    )
    assert run.words(4) == [0xFEE00900, 0, 0xFEE00100, 0xFEE00900]
    assert run.interrupts() == {0x61: 1}


def test_halt_in_vtl_0_ends_with_a_timer_of_vtl_1_and_goes_on() -> None:
    run = run_vtls(
        f"""
        {SYNIC}
        {vtl_call()}
        {apic_timer(0x61, 400000)}
        sti
        {mark(1)}
        hlt
        cli
        {mark(2)}
        """,
        f"{apic_timer(0x51, 20000)}\n{vtl_return(1)}\n{REASON}\n{TAKE}\n{FOREVER}",
    )
    # VTL 0 goes on resting when VTL 1 returns, until its own timer.
    assert run.words(3) == [1, 2, 2]
    assert run.interrupts() == {0x51: 1, 0x61: 1}


def test_halt_in_vtl_0_with_interrupts_off_is_no_obstacle() -> None:
    run = run_vtls(
        f"{vtl_call()}\ncli\nhlt",
        f"{apic_timer(0x51, 20000)}\n{vtl_return(1)}\n{REASON}\n{TAKE}\n{leave()}",
    )
    assert run.words(1) == [2]


def test_the_highest_level_comes_first() -> None:
    run = run_vtls(
        f"{vtl_call()}\n{mark(1)}\n{spin('spinning', 60000)}\n{mark(2)}",
        f"""
        {enable(2, "secure_2")}
        {vtl_call()}
        {apic_timer(0x51, 1000)}
        {vtl_return(1)}
        {mark(10)}
        {TAKE}
        {FOREVER}
        """,
        f"{apic_timer(0x53, 1100)}\n{vtl_return(1)}\n{mark(20)}\n{TAKE}\n"
        f"at_2:\n{vtl_return(1)}\njmp at_2",
    )
    assert sorted(run.words(4)) == [1, 2, 10, 20]
    assert run.interrupts() == {0x51: 1, 0x53: 1}


@pytest.mark.parametrize("auto_reset", [False, True])
def test_vina_tells_the_higher_level_of_a_held_interrupt(auto_reset: bool) -> None:
    vector = 0x70
    run = run_vtls(
        f"{SYNIC}\n{vtl_call()}\n{apic_timer(0x61, 2000)}\nsti\n{vtl_call()}\nnop\ncli\n{mark(1)}",
        f"""
        {set_register(VINA, vector | 1 << 8 | auto_reset << 9, own=1)}
        {must_succeed()}
        {vtl_return(1)}
        sti
        {spin("waiting", 60000)}
        cli
        {put_word(0x120000 + 8 * 0x61)}
        {put_word(0x120000 + 8 * vector)}
        {put_byte(assist_page(1) + 12)}
        {FOREVER}
        """,
    )
    held, told, asserted, last = run.words(4)
    assert (held, told, asserted, last) == (0, 1, 1, 1)
    assert run.interrupts() == {0x61: 1, vector: 1}


def test_no_vina_while_the_lower_level_has_interrupts_off() -> None:
    run = run_vtls(
        f"{SYNIC}\n{vtl_call()}\n{apic_timer(0x61, 2000)}\ncli\n{vtl_call()}\n{TAKE}",
        f"""
        {set_register(VINA, 0x70 | 1 << 8, own=1)}
        {must_succeed()}
        {vtl_return(1)}
        sti
        {spin("waiting", 60000)}
        cli
        {FOREVER}
        """,
    )
    assert run.interrupts() == {0x61: 1}


# --- non-maskable interrupts ---------------------------------------------------------------------

NMI_TO_SELF = SELF_IPI | 0x400
TO_VP_1 = 1 << 56


def expect_exception(label: str) -> str:
    """Let the next exception go on at a label, at the stack pointer of now."""
    return f"mov [{RECOVER_STACK}], rsp\nmov qword ptr [{RECOVER}], {label}"


@pytest.mark.parametrize("msr", [True, False])
def test_a_non_maskable_interrupt_is_taken_by_the_level_that_sent_it(msr: bool) -> None:
    def take(name: str) -> str:
        send = write_msr(ICR, NMI_TO_SELF) if msr else write_apic(0x300, NMI_TO_SELF)
        return catch(name, f"{send}\nforever_{name}:\njmp forever_{name}") + put_fault()

    run = run_vtls(
        f"{SYNIC}\n{vtl_call()}\n{mark(10)}\n{take('at_0')}\n{mark(11)}",
        f"{take('at_1')}\n{FOREVER}",
    )
    assert run.words(6) == [2, 0, 10, 2, 0, 11]


def test_each_level_has_its_own_non_maskable_state() -> None:
    """A second NMI of VTL 0 waits for the end of the first, through an NMI and IRET of VTL 1."""
    target, handler = SHARED + 0x40, DATA + 0x8000
    gate = struct.pack("<HHBBHII", handler & 0xFFFF, CODE_64, 0, 0x8E, handler >> 16, 0, 0)
    run = run_vtls(
        f"""
        {SYNIC}
        {vtl_call()}
        mov r12, rsp
        mov qword ptr [{target}], handler_0
        {write_msr(ICR, NMI_TO_SELF)}
    forever_0:
        jmp forever_0
    handler_0:
        {mark(1)}
        mov qword ptr [{target}], second_0
        {write_msr(ICR, NMI_TO_SELF)}
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
        {write_msr(ICR, NMI_TO_SELF)}
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
        {write_msr(ICR, TO_VP_1 | 0x4400)}
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
        {write_msr(ICR, 0x4400)}
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
        {SYNIC}
        {vtl_call()}
        mov r12, rsp
        mov rsp, {page + 0x800}
        {catch("first", f"{write_msr(ICR, NMI_TO_SELF)}{chr(10)}at_first: jmp at_first")}
        {put_fault()}
        {catch("second", f"{write_msr(ICR, NMI_TO_SELF)}{chr(10)}at_second: jmp at_second")}
        {put_fault()}
        mov rsp, r12
        """,
        f"{enable_protection()}\n{protect(page, READ)}\n{handle_intercepts(protect(page, ALL))}",
    )
    assert run.words(4) == [2, 0, 2, 0]
    assert run.memory_words(0x113030, 1) == [2]
    assert len(intercepts(run)) == 1
