"""RF in saved flags, and what the shadows of STI and of loads of SS hold back."""

import pytest
from tests.guests.assembly import catch, put, put_fault, put_word, write_apic
from tests.guests.kit import run_guest
from tests.guests.layout import DATA_64, FAULT, IDT

RESUME = 1 << 16
SELF_NMI = 0x4_4400
HANDLED = (
    ("ud2", 6, 0, 1),
    ("mov rax, [r13]", 14, 8, 1),
    ("mov ax, 0x1000\nmov ds, ax", 13, 8, 1),
    ("int3", 3, 0, 0),
    ("int 0x21", 0x21, 0, 0),
    ("int 6", 6, 0, 0),
)


@pytest.mark.parametrize(("text", "vector", "behind", "set_there"), HANDLED, ids=lambda v: str(v))
def test_a_fault_saves_flags_with_rf(text: str, vector: int, behind: int, set_there: int) -> None:
    gate = IDT + 16 * vector
    run = run_guest(
        f"""
        lea rax, [rip + handler]
        mov [{gate}], ax
        shr rax, 16
        mov [{gate + 6}], ax
        mov r14, rsp
        movabs r13, 0x100000000
        {text}
    handler:
        pushfq
        pop rbx
        mov rax, [rsp + {16 + behind}]
        mov rsp, r14
        {put("rax", "rbx")}
        """
    )
    saved, own = run.words(2)
    assert bool(saved & RESUME) == bool(set_there)
    assert not own & RESUME


def test_rf_ends_with_the_instruction_that_iret_goes_to() -> None:
    run = run_guest(
        f"""
        mov rax, rsp
        push {DATA_64}
        push rax
        pushfq
        or dword ptr [rsp], {RESUME}
        mov ax, cs
        movzx eax, ax
        push rax
        push back
        iretq
    back:
        nop
        pushfq
        pop rax
        {put("rax")}
        """
    )
    (flags,) = run.words(1)
    assert not flags & RESUME


@pytest.mark.parametrize(
    ("before", "vector"), [("mov ss, ax", None), ("sti", 1), ("nop", 1)], ids=lambda v: str(v)
)
def test_a_load_of_ss_holds_a_breakpoint_back(before: str, vector: int | None) -> None:
    run = run_guest(
        f"""
        lea rax, [rip + here]
        mov dr0, rax
        mov eax, 0x402
        mov dr7, rax
        xor r13d, r13d
        mov ax, ss
        {catch("tried", f"{before}{chr(10)}here:{chr(10)}inc r13d")}
        cli
        mov eax, 0x400
        mov dr7, rax
        mov rax, dr6
        {put("r13", "rax")}
        {put_fault()}
        """
    )
    executed, status, found, _ = run.signed(4)
    assert (executed, status & 0xF) == ((1, 0) if vector is None else (0, 1))
    assert found == (-1 if vector is None else vector)


@pytest.mark.parametrize("behind", ["nop", "hlt"])
def test_an_nmi_waits_for_the_end_of_a_shadow(behind: str) -> None:
    send = write_apic(0x300, SELF_NMI)
    text = f"{send}\nsti\n{behind}\nhere:\nnop\nhlt"
    run = run_guest(
        f"""
        {catch("taken", text)}
        cli
        lea rax, [rip + here]
        {put("rax")}
        {put_fault()}
        {put_word(FAULT + 16)}
        """
    )
    here, vector, _, saved = run.words(4)
    assert (vector, saved) == (2, here)
