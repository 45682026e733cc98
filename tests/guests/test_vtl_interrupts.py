"""Interrupts of several virtual trust levels of one processor; ids are those of the case list."""

import pytest
from tests.guests.assembly import (
    call,
    leave,
    put,
    put_byte,
    put_word,
    read_msr,
    write_apic,
    write_msr,
)
from tests.guests.layout import LOCAL_APIC, NO_EOI
from tests.guests.vtl import (
    VINA,
    assist_page,
    enable,
    message_page,
    must_succeed,
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


@pytest.mark.parametrize("ends_itself", [False, True])
def test_vina_that_ends_itself_needs_no_end_of_interrupt(ends_itself: bool) -> None:
    """Without it the interrupt in service holds a less urgent one back."""
    vector, other = 0x70, 0x60
    run = run_vtls(
        f"{SYNIC}\n{vtl_call()}\n{apic_timer(0x61, 2000)}\nsti\n{vtl_call()}\nnop\ncli",
        f"""
        {set_register(VINA, vector | 1 << 8 | ends_itself << 10, own=1)}
        {must_succeed()}
        mov byte ptr [{NO_EOI}], 1
        {vtl_return(1)}
        sti
        {spin("waiting", 60000)}
        {write_msr(ICR, SELF_IPI | other)}
        nop
        cli
        {put_word(0x120000 + 8 * vector)}
        {put_word(0x120000 + 8 * other)}
        {write_apic(0xB0, 0)}
        {TAKE}
        {put_word(0x120000 + 8 * other)}
        {write_apic(0xB0, 0)}
        mov byte ptr [{NO_EOI}], 0
        {FOREVER}
        """,
    )
    assert run.words(3) == [1, int(ends_itself), 1]
