"""VTL calls and returns by callers that run no 64-bit code, and their misuse."""

import struct

import pytest
from tests.guests.assembly import (
    back_to_64,
    call,
    catch,
    compatibility_mode,
    put,
    put_fault,
)
from tests.guests.contexts import PROTECTED_MODE
from tests.guests.kit import GuestRun, assemble
from tests.guests.layout import CODE_16, DATA, HYPERCALL_PAGE, SHARED
from tests.guests.narrow_code import (
    CODE,
    GO_TO_16_BITS,
    UNDEFINED_OPCODE,
    code_16,
    result_16,
)
from tests.guests.vtl import (
    ANY,
    CODE_PAGE_OFFSETS,
    CONTEXTS,
    SELF,
    enable_partition_vtl,
    must_succeed,
    run_vtls,
    vtl_call,
    vtl_return,
)

from hypercall.partition.hypercall_page import (
    VTL_CALL_OFFSET_32,
    VTL_CALL_OFFSET_64,
    VTL_RETURN_OFFSET_32,
)

SECURE_CODE = DATA + 0x8000
FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"
VTL_CALL_32 = "mov eax, 0x11\nxor edx, edx\nxor ecx, ecx\nvmcall"
VTL_RETURN_32 = "mov eax, 0x12\nxor edx, edx\nmov ecx, 1\nvmcall"

HYPERCALLS_32 = f"""
    mov ecx, 0x40000000
    mov edx, 0x8100
    xor eax, eax
    wrmsr
    inc ecx
    xor edx, edx
    mov eax, {HYPERCALL_PAGE | 1}
    wrmsr
"""


# --- 16-bit code -------------------------------------------------------------------------------


@pytest.mark.parametrize("switch", [VTL_CALL_32, VTL_RETURN_32], ids=["call", "return"])
def test_real_mode_of_vtl_0_cannot_switch(switch: str) -> None:
    run = run_vtls(
        f"{vtl_call()}\n{GO_TO_16_BITS}",
        f"{vtl_return(1)}\nmov qword ptr [{SHARED}], 1\n{FOREVER}",
        memory=code_16(switch, real_mode=True),
    )
    assert result_16(run) == UNDEFINED_OPCODE
    assert run.memory_words(SHARED, 1) == [0], "VTL 1 was not entered"


def test_16_bit_protected_mode_can_switch() -> None:
    run = run_vtls(
        f"{vtl_call()}\n{GO_TO_16_BITS}",
        f"{vtl_return(1)}\ninc qword ptr [{SHARED}]\n{FOREVER}",
        memory=code_16(f"{VTL_CALL_32}\nmov ax, 0x1234", real_mode=False),
    )
    assert result_16(run) == 0x1234
    assert run.memory_words(SHARED, 1) == [1]


def narrow_secure(
    body: str, normal: str = vtl_call(), memory: dict[int, bytes] | None = None
) -> GuestRun:
    """Run VTL 1 as 32-bit code without paging, which VTL 0 enters by `normal`."""
    code = assemble(f"{HYPERCALLS_32}\n{body}", SECURE_CODE, 32)
    return run_vtls(
        f"""
        mov rcx, {SECURE_CODE}
        mov rax, {CONTEXTS + 0x110}
        mov [rax], rcx
        {enable_partition_vtl()}
        {must_succeed()}
        {call(0xF, CONTEXTS + 0x100)}
        {must_succeed()}
        {normal}
        """,
        "",
        enabled=False,
        context=PROTECTED_MODE,
        memory={SECURE_CODE: code} | (memory or {}),
    )


@pytest.mark.parametrize("switch", [VTL_CALL_32, VTL_RETURN_32], ids=["call", "return"])
def test_real_mode_of_vtl_1_cannot_switch(switch: str) -> None:
    """A VTL above 0 starts in protected mode; one that leaves it makes no VTL return."""
    to_16_bits = f".byte 0xEA\n.long {CODE}\n.word {CODE_16}"
    run = narrow_secure(to_16_bits, memory=code_16(switch, real_mode=True, from_long_mode=False))
    assert result_16(run) == UNDEFINED_OPCODE


# --- 32-bit code -------------------------------------------------------------------------------


def call_32(code: int, words: int, *, reps: int = 0, output: int = 0) -> str:
    """Make a call in memory form from 32-bit code; the low half of the result is in EAX."""
    return f"""
        mov eax, {code}
        mov edx, {reps}
        xor ebx, ebx
        mov ecx, {words}
        xor edi, edi
        mov esi, {output}
        mov ebp, {HYPERCALL_PAGE}
        call ebp
    """


def test_32_bit_levels_find_their_entry_points_and_switch_through_them() -> None:
    """VTL 1 enables VTL 2, reads the offsets, calls VTL 2 and returns to VTL 0; all in 32 bits."""
    words, output, code_2 = DATA + 0x1000, DATA + 0x2000, SECURE_CODE + 0x800
    body = f"""
        mov dword ptr [{words + 8}], 2
        {call_32(0xD, words)}
        mov [{SHARED}], eax
        mov dword ptr [{CONTEXTS + 0x210}], {code_2}
        {call_32(0xF, CONTEXTS + 0x200)}
        mov [{SHARED + 8}], eax
        mov dword ptr [{words + 8}], {SELF}
        mov dword ptr [{words + 16}], {CODE_PAGE_OFFSETS}
        {call_32(0x50, words, reps=1, output=output)}
        mov [{SHARED + 16}], eax
        mov esi, [{output}]
        mov edi, esi
        and esi, 0xFFF
        shr edi, 12
        mov [{SHARED + 24}], esi
        mov [{SHARED + 32}], edi
        add esi, {HYPERCALL_PAGE}
        add edi, {HYPERCALL_PAGE}
        xor eax, eax
        xor edx, edx
        call esi
        add dword ptr [{SHARED + 40}], 1
        mov eax, 1
        xor edx, edx
        call edi
    """
    code = f"""
        {HYPERCALLS_32}
        add dword ptr [{SHARED + 40}], 16
        mov eax, 1
        xor edx, edx
        mov ebp, {HYPERCALL_PAGE + VTL_RETURN_OFFSET_32}
        call ebp
    """
    memory = {code_2: assemble(code, code_2, 32), words: struct.pack("<q", ANY) + bytes(16)}
    run = narrow_secure(body, f"{vtl_call()}\nadd dword ptr [{SHARED + 40}], 256", memory)
    offsets = [VTL_CALL_OFFSET_32, VTL_RETURN_OFFSET_32]
    assert run.memory_words(SHARED, 6) == [0, 0, 0, *offsets, 256 + 16 + 1]


def narrow(body: str) -> str:
    """Execute text as 32-bit code of long mode; an exception goes on behind it."""
    return f"""
        {
        catch(
            "caught",
            compatibility_mode("narrow")
            + f'''
        .code32
    narrow:
        {body}
        {back_to_64("caught")}''',
        )
    }
        {put_fault()}
    """


def through(offset: int, control: str) -> str:
    return f"{control}\nmov ebp, {HYPERCALL_PAGE + offset}\ncall ebp"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(through(VTL_CALL_OFFSET_32, "mov eax, 2\nxor edx, edx"), id="call-input"),
        pytest.param(through(VTL_CALL_OFFSET_32, "xor eax, eax\nmov edx, 1"), id="call-high-word"),
        pytest.param(through(VTL_RETURN_OFFSET_32, "xor eax, eax\nxor edx, edx"), id="return"),
        pytest.param(through(VTL_RETURN_OFFSET_32, "mov eax, 1\nxor edx, edx"), id="fast-return"),
        pytest.param("mov eax, 0x10011\nxor edx, edx\nxor ecx, ecx\nvmcall", id="fast-bit"),
        pytest.param("mov eax, 0x11\nxor edx, edx\nmov ecx, 1\nvmcall", id="control-input"),
    ],
)
def test_misuse_by_32_bit_code_of_vtl_0(body: str) -> None:
    run = run_vtls(
        f"{vtl_call()}\n{narrow(body)}",
        f"{vtl_return(1)}\nmov qword ptr [{SHARED}], 1\n{FOREVER}",
    )
    assert run.words(1) == [UNDEFINED_OPCODE]
    assert run.memory_words(SHARED, 1) == [0]


def test_the_entry_for_64_bit_code_is_none_for_32_bit_code() -> None:
    """There the first byte is DEC EAX, and ECX becomes the call code: a result, and no switch."""
    run = run_vtls(
        f"{vtl_call()}\n{narrow(through(VTL_CALL_OFFSET_64, 'mov ecx, 0xBEEF; xor edx, edx'))}",
        f"{vtl_return(1)}\nmov qword ptr [{SHARED}], 1\n{FOREVER}",
    )
    assert run.words(1) == [(1 << 64) - 1]
    assert run.memory_words(SHARED, 1) == [0]


# --- without the privilege ---------------------------------------------------------------------


def test_without_the_privilege_nobody_switches() -> None:
    run = run_vtls(
        f"""
        {enable_partition_vtl()}
        {put("rax")}
        {catch("call", vtl_call())}
        {put_fault()}
        {catch("return", vtl_return())}
        {put_fault()}
        """,
        "",
        enabled=False,
        privileges="-AccessVsm",
    )
    status, call_vector, _, return_vector, _ = run.words(5)
    assert status == 6
    assert (call_vector, return_vector) == (UNDEFINED_OPCODE, UNDEFINED_OPCODE)
