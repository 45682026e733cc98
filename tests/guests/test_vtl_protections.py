"""What VTL 1 forbids VTL 0 in memory: each access is told to it, and made once when it is granted.

The ids are those of the case list.
"""

import struct
from dataclasses import dataclass

import pytest
from tests.guests.assembly import (
    call,
    catch,
    leave,
    put,
    put_fault,
    put_word,
    write_apic,
    write_msr,
)
from tests.guests.kit import assemble
from tests.guests.layout import (
    DATA,
    HYPERCALL_PAGE,
    INPUT,
    OUTPUT,
    SHARED,
    TABLES,
    TSC_PAGE,
    WINDOW,
)
from tests.guests.paging import ACCESSED, DIRTY, KERNEL_PAGE, page_of, window
from tests.guests.protections import (
    PAGE,
    READING,
    WRITING,
    R,
    guard,
)
from tests.guests.vtl import (
    ALL,
    LOG,
    assist_page,
    enable,
    enable_protection,
    handle_intercepts,
    intercepts,
    must_succeed,
    protect,
    run_vtls,
    set_register,
    skip_instruction,
    vtl_call,
    vtl_return,
)

from hypercall.tlfs.messages import MessageType

FIRST = 0x0102_0304_0506_0708
SELF_PARTITION = (1 << 64) - 1
VP_STATUS_OF_SELF = struct.pack("<QQII", SELF_PARTITION, 0xFFFFFFFE, 0xD0003, 0)
PENDING_EVENT = 0x10004


@dataclass(frozen=True)
class Access:
    """One instruction that violates a protection.

    Attributes:
        instruction: it, with RDI at the page.
        mask: what is allowed.
        access: the type of the violation.
        offset: where in the page it happens.
        before: text before it.
        result: the word at the beginning of the page afterwards.
        rax: RAX afterwards, or None if it does not matter.
    """

    instruction: str
    mask: int
    access: int
    offset: int = 0
    before: str = ""
    result: int = FIRST
    rax: int | None = None


ACCESSES = {
    "A110": Access("mov rax, [rdi]", 0, READING, rax=FIRST),
    "A111": Access("mov [rdi], rax", R, WRITING, before="mov eax, 77", result=77),
    "byte": Access("movzx eax, byte ptr [rdi + 0x7]", 0, READING, 7, rax=1),
    "no-access": Access("mov dword ptr [rdi], 5", 0, WRITING, result=FIRST >> 32 << 32 | 5),
    "xadd": Access(
        "lock xadd [rdi], rax", R, WRITING, before="mov eax, 5", result=FIRST + 5, rax=FIRST
    ),
    "inc": Access("inc qword ptr [rdi]", R, WRITING, result=FIRST + 1),
    "cmpxchg16b": Access(
        "lock cmpxchg16b [rdi]",
        R,
        WRITING,
        before=f"mov rax, {FIRST}\nxor edx, edx\nmov ecx, 9\nmov ebx, 3",
        result=3,
    ),
    "push": Access("push rax", R, WRITING, 0xF8, before=f"mov r12, rsp\nmov rsp, {PAGE + 0x100}"),
    "movaps": Access("movaps [rdi + 16], xmm0", R, WRITING, 16),
    "fxsave": Access("fxsave [rdi + 0x200]", R, WRITING, 0x200),
    "bts": Access("lock bts qword ptr [rdi], 63", R, WRITING, result=FIRST | 1 << 63),
    "sib": Access(
        "cmp byte ptr [rdi + rcx * 2 + 0x12345], 0", 0, READING, 0x45, "mov rcx, -0x9180"
    ),
    "sgdt": Access("sgdt [rdi + 0x80]", R, WRITING, 0x80),
}


@pytest.mark.parametrize("case", ACCESSES.values(), ids=ACCESSES)
def test_a_violation_is_told_and_the_instruction_made_once(case: Access) -> None:
    run = guard(
        f"""
        mov rdi, {PAGE}
        mov r12, rsp
        mov r13, 0x1313
        mov r14, 0x1414
        {case.before}
    violating:
        {case.instruction}
        mov rsp, r12
        mov [{SHARED}], rax
        {put("r13", "r14", "rdi")}
        mov rax, violating
        {put("rax")}
        """,
        case.mask,
        memory={PAGE: struct.pack("<2Q", FIRST, 0)},
    )
    *kept, rip = run.words(4)
    (violation,) = intercepts(run)
    expected = assemble(case.instruction)
    assert violation.kind is MessageType.GPA_INTERCEPT
    assert violation["guest_physical_address"] == PAGE + case.offset
    assert violation["guest_virtual_address"] == PAGE + case.offset
    assert violation["access_type"] == case.access
    assert violation["rip"] == rip
    assert (violation.instruction, violation.length) == (expected, len(expected))
    assert violation["vp_index"] == 0
    assert violation["execution_state"] == 0b10100  # CPL 0, PE, LMA, VTL 0
    assert (violation["cache_type"], violation["memory_access_info"]) == (6, 1)
    assert kept == [0x1313, 0x1414, PAGE]
    assert run.memory_words(PAGE, 1) == [case.result]
    if case.rax is not None:
        assert run.memory_words(SHARED, 1) == [case.rax]
    assert run.interrupts() == {0x30: 1}


def test_the_older_form_of_the_message_has_the_registers() -> None:
    run = guard(f"mov rbx, {PAGE}\nmov eax, 0x99\nmov r14, 0x1414\nmov [rbx], rax", R, like="kvm")
    message = run.memory(LOG + 16, 240)
    assert message[45] == 0  # the virtual address is not valid
    assert struct.unpack_from("<Q", message, 0x70) == (0x99,)
    assert struct.unpack_from("<Q", message, 0x70 + 8 * 14) == (0x1414,)


# --- instructions with several accesses --------------------------------------------------------


def test_a_repeated_store_goes_on_where_it_was_stopped() -> None:
    run = guard(
        f"""
        mov rsi, {DATA}
        mov rdi, {PAGE - 64}
        mov ecx, 128
        cld
        rep movsb
        {put("rcx", "rsi", "rdi")}
        """,
        R,
        memory={DATA: bytes(range(128))},
    )
    assert run.words(3) == [0, DATA + 128, PAGE + 64]
    assert run.memory(PAGE - 64, 128) == bytes(range(128))
    (violation,) = intercepts(run)
    assert violation["guest_physical_address"] == PAGE
    assert violation.instruction == b"\xf3\xa4"


def test_a_store_across_pages_is_made_whole_or_not_at_all() -> None:
    run = guard(
        f"mov rax, -1\nmov rbx, {PAGE - 3}\nmov [rbx], rax",
        R,
        grant=f"{put_word(PAGE - 8)}\n{protect(PAGE, ALL)}",
    )
    assert run.words(1) == [0]
    assert run.memory(PAGE - 4, 10) == b"\0" + b"\xff" * 8 + b"\0"
    (violation,) = intercepts(run)
    assert violation["guest_physical_address"] == PAGE


def test_a_load_across_pages() -> None:
    run = guard(
        f"mov rbx, {PAGE - 4}\nmov rax, [rbx]\n{put('rax')}",
        0,
        memory={PAGE - 4: bytes(range(1, 9))},
    )
    assert run.words(1) == [0x0807060504030201]
    (violation,) = intercepts(run)
    assert violation["guest_physical_address"] == PAGE


def test_an_interrupt_whose_frame_goes_to_a_protected_page_is_delivered_once() -> None:
    run = guard(
        f"""
        {write_apic(0xF0, 0x1FF)}
        mov r12, rsp
        mov rsp, {PAGE + 0x80}
        {write_apic(0x300, 0x44041)}
        mov r13, 55
        sti
        nop
        nop
        cli
        mov rsp, r12
        {put("r13")}
        """,
        R,
    )
    assert run.words(1) == [55]
    assert run.interrupts() == {0x30: 1, 0x41: 1}
    (violation,) = intercepts(run)
    assert violation["access_type"] == WRITING
    assert PAGE <= violation["guest_physical_address"] < PAGE + 0x80


def test_an_exception_whose_frame_goes_to_a_protected_page() -> None:
    run = guard(
        f"""
        mov r12, rsp
        mov rsp, {PAGE + 0x80}
        {catch("caught", "ud2")}
        mov rsp, r12
        {put_fault()}
        """,
        R,
    )
    assert run.words(1) == [6]
    assert len(intercepts(run)) == 1


def test_a_software_interrupt_whose_frame_goes_to_a_protected_page() -> None:
    run = guard(f"mov r12, rsp\nmov rsp, {PAGE + 0x80}\nint 0x42\nmov rsp, r12\n{put('r12')}", R)
    assert run.interrupts() == {0x30: 1, 0x42: 1}
    (violation,) = intercepts(run)
    assert violation.instruction == b"\xcd\x42"


# --- overlays, tables and parameters ------------------------------------------------------------


def test_overlay_pages_are_not_subject_to_protections() -> None:
    run = guard(
        f"""
        {call(0x1005C, 0, 0)}
        {put_word(TSC_PAGE + 8)}
        """,
        0,
        page=HYPERCALL_PAGE,
        before=write_msr(0x40000021, TSC_PAGE | 1),
        grant=leave(0xBAD),
    )
    assert run.words(1) != [0]
    assert intercepts(run) == []


def test_paging_structures_in_a_protected_page() -> None:
    run = guard(
        f"mov rbx, {WINDOW}\nmov rax, [rbx]\n{put('rax')}",
        0,
        page=TABLES,
        memory=window(PAGE | KERNEL_PAGE) | {PAGE: page_of(7)},
    )
    assert run.words(1) == [0x0707070707070707]
    (violation,) = intercepts(run)
    assert violation["guest_physical_address"] == TABLES
    assert violation["guest_virtual_address"] == WINDOW
    assert violation["access_type"] == READING
    assert violation.instruction == assemble("mov rax, [rbx]")


@pytest.mark.parametrize(
    ("entry", "instruction", "told"),
    [
        pytest.param(KERNEL_PAGE | ACCESSED | DIRTY, "mov [rbx], rax", False, id="nothing-to-set"),
        pytest.param(KERNEL_PAGE | ACCESSED, "mov rax, [rbx]", False, id="read-of-a-clean-page"),
        pytest.param(KERNEL_PAGE | ACCESSED, "mov [rbx], rax", True, id="dirty"),
        pytest.param(KERNEL_PAGE, "mov rax, [rbx]", True, id="accessed"),
    ],
)
def test_accessed_and_dirty_bits_in_a_page_that_is_read_only(
    entry: int, instruction: str, told: bool
) -> None:
    run = guard(
        f"mov rbx, {WINDOW}\n{instruction}\n{put('rbx')}",
        R,
        page=TABLES,
        memory=window(PAGE | entry),
    )
    violations = intercepts(run)
    assert len(violations) == told
    for violation in violations:
        assert violation["guest_physical_address"] == TABLES
        assert violation["access_type"] == WRITING


@pytest.mark.parametrize("reading", ["hyperv", "openvmm"])
@pytest.mark.parametrize("mask", [0, R])
def test_parameters_of_calls_in_a_protected_page(reading: str, mask: int) -> None:
    """0x0050 reads its list from one page and writes to another; the second one is protected."""
    run = guard(
        f"{call(0x1_0000_0050, INPUT, OUTPUT)}\n{put('rax')}",
        mask,
        page=OUTPUT,
        like=reading,
        memory={INPUT: VP_STATUS_OF_SELF},
    )
    violations = intercepts(run)
    if reading == "openvmm":
        assert run.words(1)[0] & 0xFFFF
        assert violations == []
        return
    assert run.words(1) == [0x1_0000_0000]
    (violation,) = violations
    assert violation["access_type"] == WRITING
    assert violation["guest_physical_address"] == OUTPUT
    assert violation["memory_access_info"] == 0b100
    assert run.memory_words(OUTPUT, 1) == [0b11 << 16]


def test_input_of_calls_in_a_protected_page() -> None:
    run = guard(
        f"{call(0x1_0000_0050, INPUT, OUTPUT)}\n{put('rax')}",
        0,
        page=INPUT,
        memory={INPUT: VP_STATUS_OF_SELF},
    )
    assert run.words(1) == [0x1_0000_0000]
    (violation,) = intercepts(run)
    assert (violation["access_type"], violation["guest_physical_address"]) == (READING, INPUT)
    assert violation.length == 3


# --- what a handler can do instead -------------------------------------------------------------


def test_a_handler_can_leave_the_instruction_out() -> None:
    run = guard(
        f"mov rbx, {PAGE}\nmov eax, 5\nmov [rbx], rax\nmov rax, [rbx]\n{put('rax')}",
        R,
        grant=skip_instruction(3),
        memory={PAGE: struct.pack("<Q", FIRST)},
    )
    assert run.words(1) == [FIRST]
    assert len(intercepts(run)) == 1


def test_a_handler_can_raise_an_exception() -> None:
    event = 1 | 1 << 8 | 13 << 16 | 0x77 << 32
    run = guard(
        f"mov rbx, {PAGE}\n{catch('caught', 'mov [rbx], rax')}\n{put_fault()}",
        R,
        grant=set_register(PENDING_EVENT, event, vtl=0, own=1) + "\n" + must_succeed(),
    )
    assert run.words(2) == [13, 0x77]


def test_what_is_not_granted_is_told_again() -> None:
    run = guard(
        f"mov rbx, {PAGE}\nmov eax, 5\nlock xadd [rbx], rax",
        R,
        grant=f"inc dword ptr [{SHARED}]\ncmp dword ptr [{SHARED}], 3\njb not_yet\n"
        f"{protect(PAGE, ALL)}\nnot_yet:",
    )
    assert run.memory_words(PAGE, 1) == [5]
    assert len(intercepts(run)) == 3


def test_without_sint_0_the_message_is_in_the_assist_page() -> None:
    message = assist_page(1) + 112
    run = run_vtls(
        f"{vtl_call()}\nmov rbx, {PAGE}\nmov [rbx], rbx",
        f"""
        {write_msr(0x40000090, 0x10000)}
        {enable_protection()}
        {protect(PAGE, R)}
        {vtl_return(1)}
        {put_word(assist_page(1) + 8)}
        {put_word(message)}
        {put_word(message + 16 + 56)}
        {protect(PAGE, ALL)}
        {vtl_return()}
        """,
    )
    reason, header, gpa = run.words(3)
    assert reason & 0xFFFFFFFF == 3
    assert header & 0xFFFFFFFF == MessageType.GPA_INTERCEPT
    assert gpa == PAGE
    assert run.memory_words(PAGE, 1) == [PAGE]


def test_vtl_2_protects_from_vtl_1_and_vtl_1_from_vtl_0() -> None:
    other = PAGE + 0x2000
    run = run_vtls(
        f"""
        {vtl_call()}
        mov rbx, {PAGE}
        mov [rbx], rbx
        mov rbx, {other}
        mov [rbx], rbx
        """,
        f"""
        {enable(2, "secure_2")}
        {vtl_call()}
        {enable_protection()}
        {protect(PAGE, R)}
        mov rbx, {PAGE}
        mov [rbx], rbx
        mov rbx, {other}
        mov [rbx], rbx
        mov qword ptr [rbx], 0
        {handle_intercepts(protect(PAGE, ALL))}
        """,
        f"""
        {enable_protection(own=2)}
        {protect(other, R, own=2)}
        {handle_intercepts(protect(other, ALL, own=2), name="at_2", vtl=2)}
        """,
    )
    first, second = intercepts(run)
    assert (first["guest_physical_address"], first["execution_state"] >> 7) == (other, 1)
    assert (second["guest_physical_address"], second["execution_state"] >> 7) == (PAGE, 0)
    assert run.memory_words(PAGE, 1) == [PAGE]
    assert run.memory_words(other, 1) == [other]
