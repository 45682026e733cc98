"""What VTL 1 forbids VTL 0 in memory: each access is told to it, and made once when it is granted.

The ids are those of the case list.
"""

import struct
from dataclasses import dataclass
from typing import Any

import pytest
from tests.guests.assembly import (
    call,
    catch,
    leave,
    put,
    put_fault,
    put_word,
    user_mode,
    write_apic,
    write_msr,
)
from tests.guests.kit import GuestRun, assemble
from tests.guests.layout import (
    DATA,
    HOOKS,
    HYPERCALL_PAGE,
    IDENTITY_TABLES,
    INPUT,
    OUTPUT,
    SHARED,
    TABLES,
    TSC_PAGE,
    WINDOW,
)
from tests.guests.paging import ACCESSED, DIRTY, KERNEL_PAGE, page_of, window
from tests.guests.vtl import (
    ALL,
    KERNEL_EXECUTE,
    LOG,
    LOG_END,
    PARTITION_CONFIG,
    READ,
    SECURE_CONFIG_VTL0,
    USER_EXECUTE,
    WRITE,
    assist_page,
    enable,
    enable_protection,
    get_register,
    handle_intercepts,
    intercepts,
    keep_registers,
    must_succeed,
    protect,
    run_vtls,
    set_register,
    skip_instruction,
    store,
    take_messages,
    vtl_call,
    vtl_return,
)

from hypercall.tlfs.messages import MessageType

PAGE = DATA + 0x10000
NEXT = PAGE + 0x1000
CODE = DATA + 0x20000
FIRST = 0x0102_0304_0506_0708

READING, WRITING, EXECUTING = 0, 1, 2
SELF_PARTITION = (1 << 64) - 1
VP_STATUS_OF_SELF = struct.pack("<QQII", SELF_PARTITION, 0xFFFFFFFE, 0xD0003, 0)
PENDING_EVENT = 0x10004
RSP = 0x20004
RETURN_FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"


def guard(
    normal: str,
    mask: int,
    *,
    page: int = PAGE,
    grant: str | None = None,
    before: str = "",
    **rest: Any,
) -> GuestRun:
    """Run text of VTL 0 while VTL 1 guards a page, which it grants at the first violation."""
    granting = protect(page, ALL) if grant is None else grant
    return run_vtls(
        f"{before}\n{vtl_call()}\n{normal}",
        f"{enable_protection()}\n{protect(page, mask)}\n{handle_intercepts(granting)}",
        **rest,
    )


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


R, RW = READ, READ | WRITE
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


# --- execution ---------------------------------------------------------------------------------


def test_a_fetch_a112() -> None:
    run = guard(
        f"mov r12, rsp\nmov rax, {CODE}\ncall rax\n{put('rax', 'r12')}",
        RW,
        page=CODE,
        grant=f"{get_register(RSP, vtl=0, own=1)}\n{put('rax')}\n{protect(CODE, ALL)}",
        memory={CODE: assemble("mov eax, 5\nret", CODE)},
    )
    rsp_inside, result, rsp = run.words(3)
    assert (rsp_inside, result) == (rsp - 8, 5)
    (violation,) = intercepts(run)
    assert violation["access_type"] == EXECUTING
    assert violation["guest_physical_address"] == violation["rip"] == CODE
    assert violation["instruction_byte_count"] == 0


def test_an_instruction_that_goes_on_in_a_page_without_execution() -> None:
    code = CODE + 0x1000 - 2
    run = guard(
        f"mov rax, {code}\ncall rax\n{put('rax')}",
        RW,
        page=CODE + 0x1000,
        memory={code: assemble("mov eax, 5\nret", code)},
    )
    assert run.words(1) == [5]
    (violation,) = intercepts(run)
    assert (violation["rip"], violation["guest_physical_address"]) == (code, CODE + 0x1000)


def test_code_that_ran_before_is_guarded_too() -> None:
    run = guard(
        f"mov eax, {CODE}\ncall rax\n{put('rax')}",
        RW,
        page=CODE,
        before=f"mov eax, {CODE}\ncall rax\n{put('rax')}",
        memory={CODE: assemble("mov eax, 5\nret", CODE)},
    )
    assert run.words(2) == [5, 5]
    assert len(intercepts(run)) == 1


def allow_r10() -> str:
    """Allow lower VTLs everything in the page whose number is in R10."""
    return f"""
        {store(INPUT, -1)}
        {store(INPUT + 8, ALL)}
        mov r11, {INPUT + 16}
        mov [r11], r10
        {call(0x1_0000_000C, INPUT)}
        {must_succeed()}
    """


def grant_the_page_of_the_message() -> str:
    """Allow lower VTLs everything in the page that the last message of the log is about."""
    return f"""
        mov rax, {LOG_END}
        mov rax, [rax]
        mov r10, [rax - 256 + 16 + 56]
        shr r10, 12
        {allow_r10()}
    """


ENABLE_MBEC, SMEP = 1, 1 << 20
# Where the boot loader's tables map the first 2 MiB and the hypercall page, for the kernel alone.
KERNEL_ONLY = {IDENTITY_TABLES + 0x2000: struct.pack("<2Q", 0x83, 0x200083)}


@pytest.mark.parametrize(
    ("mask", "mbec", "smep", "refused"),
    [
        pytest.param(R | USER_EXECUTE, True, True, ["kernel"], id="user-execute"),
        pytest.param(R | USER_EXECUTE, True, False, ["user", "kernel"], id="without-smep"),
        pytest.param(R | USER_EXECUTE, False, True, ["user", "kernel"], id="mbec-off-on-the-vp"),
        pytest.param(R, True, True, ["user", "kernel"], id="read"),
        pytest.param(R | USER_EXECUTE | KERNEL_EXECUTE, True, True, [], id="all"),
    ],
)
def test_mode_based_execution(mask: int, mbec: bool, smep: bool, refused: list[str]) -> None:
    user, kernel = CODE, CODE + 0x1000
    run = run_vtls(
        f"""
        {f"mov rax, cr4; or eax, {SMEP}; mov cr4, rax" if smep else ""}
        mov rax, back
        mov [{HOOKS + 8 * 0x80}], rax
        {vtl_call()}
        mov r12, rsp
        {user_mode(str(WINDOW))}
    back:
        mov rsp, r12
        {put("r12")}
        mov eax, {WINDOW + 0x1000}
        call rax
        {put("r12")}
        """,
        f"""
        {set_register(SECURE_CONFIG_VTL0, 1, own=1) if mbec else ""}
        {enable_protection()}
        {protect(user, mask)}
        {protect(kernel, mask)}
        {handle_intercepts(grant_the_page_of_the_message())}
        """,
        flags=ENABLE_MBEC,
        memory=window(user | 5, kernel | 1) | KERNEL_ONLY | {user: b"\xcd\x80", kernel: b"\xc3"},
    )
    names = {user: "user", kernel: "kernel"}
    assert [names[each["guest_physical_address"]] for each in intercepts(run)] == refused


TOGGLE_SMEP = f"mov rax, cr4; xor eax, {SMEP}; mov cr4, rax"
CR4 = 0x40003


def toggle_smep_of_vtl_0() -> str:
    """Change CR4.SMEP of VTL 0 from VTL 1."""
    return f"""
        {get_register(CR4, vtl=0, own=1)}
        mov r10, rax
        xor r10, {SMEP}
        {set_register(CR4, vtl=0, own=1)}
        {must_succeed()}
    """


@pytest.mark.parametrize("by", ["mov", "vtl-1"])
def test_smep_decides_at_each_fetch_which_permission_governs_user_code(by: str) -> None:
    """User code runs with SMEP, is refused without it, and runs again with it; kernel code never.

    What the handler grants is taken back before the next attempt, so that each is a fresh one.
    """
    user, kernel = CODE, CODE + 0x1000
    guard_again = "\n".join(protect(page, R | USER_EXECUTE) for page in (user, kernel))
    change = TOGGLE_SMEP if by == "mov" else vtl_call()
    attempt = """
        mov r12, rsp
        mov qword ptr [{hook}], {label}
        {enter}
    {label}:
        mov rsp, r12
        mov eax, {window}
        call rax
        {mark}
    """
    attempts = [
        attempt.format(
            hook=HOOKS + 8 * 0x80,
            label=f"back_{number}",
            enter=user_mode(str(WINDOW)),
            window=WINDOW + 0x1000,
            mark=f"mov rax, {LOG_END}\nmov rax, [rax]\n{put('rax')}",
        )
        for number in range(4)
    ]
    handler = f"""
        {take_messages("taken")}
        mov eax, {assist_page(1) + 8}
        cmp dword ptr [rax], 1
        je called
        {grant_the_page_of_the_message()}
        jmp handled
    called:
        {guard_again}
        {toggle_smep_of_vtl_0() if by == "vtl-1" else ""}
    handled:
    """
    between = vtl_call() if by == "mov" else ""
    run = run_vtls(
        vtl_call() + "".join(f"\n{change}\n{each}\n{between}" for each in attempts),
        f"""
        {set_register(SECURE_CONFIG_VTL0, 1, own=1)}
        {enable_protection()}
        {guard_again}
    handling:
        {vtl_return()}
        {keep_registers(handler)}
        jmp handling
        """,
        flags=ENABLE_MBEC,
        memory=window(user | 5, kernel | 1) | KERNEL_ONLY | {user: b"\xcd\x80", kernel: b"\xc3"},
    )
    # SMEP is off at the start, so it is on in the first and the third attempt.
    names = {user: "user", kernel: "kernel"}
    told = [names[each["guest_physical_address"]] for each in intercepts(run)]
    assert told == ["kernel", "user", "kernel", "kernel", "user", "kernel"]
    assert [(end - LOG) // 256 for end in run.words(4)] == [1, 3, 4, 6]


# --- defaults, overlays, tables and parameters -------------------------------------------------


def allow_code(page: int) -> str:
    """Let VTL 0 execute the image, the interrupt stubs, the rest of the kit's code and a page."""
    return f"""
        mov r14, 0x100
    allowing:
        mov r10, r14
        {allow_r10()}
        inc r14
        cmp r14, 0x120
        jb allowing
        {protect(page, ALL)}
    """


def test_the_default_mask_holds_for_pages_without_their_own() -> None:
    allowed = DATA + 0x30000
    run = run_vtls(
        f"""
        {vtl_call()}
        mov eax, {allowed}
        call rax
        mov eax, {CODE}
        call rax
        """,
        f"{enable_protection(RW)}\n{allow_code(allowed)}\n{handle_intercepts(protect(CODE, ALL))}",
        memory={CODE: b"\xc3", allowed: b"\xc3"},
    )
    (violation,) = intercepts(run)
    assert (violation["guest_physical_address"], violation["access_type"]) == (CODE, EXECUTING)


def test_the_default_mask_is_fixed_once_protection_is_on_a109() -> None:
    run = run_vtls(
        vtl_call(),
        f"""
        {set_register(PARTITION_CONFIG, 1 | 7 << 1, own=1)}
        {put("rax")}
        {set_register(PARTITION_CONFIG, 1 | ALL << 1, own=1)}
        {put("rax")}
        {set_register(PARTITION_CONFIG, 1 | RW << 1, own=1)}
        {put("rax")}
        {set_register(PARTITION_CONFIG, ALL << 1, own=1)}
        {put("rax")}
        {get_register(PARTITION_CONFIG, own=1)}
        {put("rax")}
        {RETURN_FOREVER}
        """,
    )
    # Kernel execution alone is no default either.
    assert run.words(5) == [0x50, 0x1_0000_0000, 0x50, 0x50, 1 | ALL << 1]


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


# --- the call itself ---------------------------------------------------------------------------


def modify(control: int, partition: int, target: int, flags: int, *pages: int) -> str:
    stores = "\n".join(store(INPUT + 16 + 8 * n, page) for n, page in enumerate(pages))
    return f"""
        {store(INPUT, partition)}
        {store(INPUT + 8, target << 32 | flags)}
        {stores}
        {call(control, INPUT)}
        {put("rax")}
    """


def run_in_vtl_1(text: str, **rest: Any) -> GuestRun:
    return run_vtls(vtl_call(), f"{enable_protection()}\n{text}\n{RETURN_FOREVER}", **rest)


@pytest.mark.parametrize(
    ("target", "flags", "result", "partition"),
    [
        pytest.param(0x12, 1, 6, -1, id="B065"),
        pytest.param(0, 1, 0xD, 5, id="B066"),
        pytest.param(0, 5, 0x50, -1, id="B069"),
        pytest.param(0, 0, 0x1_0000_0000, -1, id="B073"),
        pytest.param(0, 2, 0x50, -1, id="write-only"),
        pytest.param(0, 0x8001, 0x50, -1, id="adjustable"),
        pytest.param(0x10, 1, 5, -1, id="B077"),
        pytest.param(0x11, 1, 0x1_0000_0000, -1, id="own-vtl-by-number"),
    ],
)
def test_modify_vtl_protection_mask(target: int, flags: int, result: int, partition: int) -> None:
    run = run_in_vtl_1(modify(0x1_0000_000C, partition, target, flags, 0x900))
    assert run.words(1) == [result]


def test_protection_needs_the_vtls_consent_b067() -> None:
    run = run_vtls(vtl_call(), f"{modify(0x1_0000_000C, -1, 0, 1, 0x900)}\n{RETURN_FOREVER}")
    assert run.words(1) == [6]


def test_target_0_names_the_restricted_level_for_kvm_b077() -> None:
    run = run_in_vtl_1(modify(0x1_0000_000C, -1, 0x10, 1, 0x900), like="kvm")
    assert run.words(1) == [0x1_0000_0000]


def test_kernel_execution_alone_is_refused_with_mbec_b072() -> None:
    run = run_in_vtl_1(modify(0x1_0000_000C, -1, 0, 5, 0x900), flags=ENABLE_MBEC)
    assert run.words(1) == [0x50]


def test_a_list_stops_at_a_page_that_is_no_memory() -> None:
    run = run_vtls(
        f"{vtl_call()}\nmov rbx, {PAGE}\nmov [rbx], rbx",
        f"""
        {enable_protection()}
        {modify(0x3_0000_000C, -1, 0, R, PAGE >> 12, 0x90000, (PAGE >> 12) + 1)}
        {handle_intercepts(protect(PAGE, ALL))}
        """,
    )
    assert run.words(1) == [0x1_0000_0005]
    assert len(intercepts(run)) == 1


def test_vtl_0_has_nobody_to_protect_from() -> None:
    run = run_vtls(modify(0x1_0000_000C, -1, 0, 1, 0x900), "")
    assert run.words(1) == [5]
