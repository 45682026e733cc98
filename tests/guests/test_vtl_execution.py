"""What VTL 1 forbids VTL 0 to execute; the ids are those of the case list."""

import struct

import pytest
from tests.guests.assembly import (
    put,
    user_mode,
)
from tests.guests.kit import assemble
from tests.guests.layout import (
    HOOKS,
    IDENTITY_TABLES,
    WINDOW,
)
from tests.guests.paging import window
from tests.guests.protections import (
    CODE,
    ENABLE_MBEC,
    EXECUTING,
    RW,
    R,
    allow_r10,
    guard,
)
from tests.guests.vtl import (
    ALL,
    KERNEL_EXECUTE,
    LOG,
    LOG_END,
    SECURE_CONFIG_VTL0,
    USER_EXECUTE,
    assist_page,
    enable_protection,
    get_register,
    handle_intercepts,
    intercepts,
    keep_registers,
    must_succeed,
    protect,
    run_vtls,
    set_register,
    take_messages,
    vtl_call,
    vtl_return,
)

RSP = 0x20004


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


def grant_the_page_of_the_message() -> str:
    """Allow lower VTLs everything in the page that the last message of the log is about."""
    return f"""
        mov rax, {LOG_END}
        mov rax, [rax]
        mov r10, [rax - 256 + 16 + 56]
        shr r10, 12
        {allow_r10()}
    """


SMEP = 1 << 20
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
