"""Entering and leaving virtual trust levels from guest code; ids are those of the case list."""

import pytest
from tests.guests.assembly import (
    back_to_64,
    call,
    catch,
    compatibility_mode,
    put,
    put_fault,
    put_word,
    user_mode,
    write_msr,
)
from tests.guests.contexts import PROTECTED_MODE
from tests.guests.kit import assemble
from tests.guests.layout import (
    DATA,
    FAULT,
    HYPERCALL_PAGE,
)
from tests.guests.vtl import (
    CAPABILITIES,
    CODE_PAGE_OFFSETS,
    CONTEXTS,
    PARTITION_STATUS,
    RAW_CALL,
    RAW_RETURN,
    VP_STATUS,
    assist_page,
    enable,
    enable_partition_vtl,
    enable_vp_vtl,
    get_register,
    must_succeed,
    run_vtls,
    stack,
    store,
    vtl_call,
    vtl_return,
)

from hypercall.partition.hypercall_page import VTL_CALL_OFFSET_32, VTL_RETURN_OFFSET_32

CODE = DATA + 0x8000
NONE = (1 << 64) - 1
FOREVER = f"again:\n{vtl_return(1)}\njmp again"


# --- entry and return ------------------------------------------------------------------------


def through_the_offsets(vtl: int, shift: int, control: int) -> str:
    return f"""
        {get_register(CODE_PAGE_OFFSETS, own=vtl)}
        shr rax, {shift}
        and eax, 0xFFF
        add rax, {HYPERCALL_PAGE}
        mov ecx, {control}
        call rax
    """


@pytest.mark.parametrize(
    ("enter", "leave"),
    [
        pytest.param(vtl_call(), vtl_return(1), id="page"),
        pytest.param(through_the_offsets(0, 0, 0), through_the_offsets(1, 12, 1), id="register"),
        pytest.param(RAW_CALL, RAW_RETURN, id="vmcall"),
        pytest.param(
            RAW_CALL.replace("vmcall", "vmmcall"),
            RAW_RETURN.replace("vmcall", "vmmcall"),
            id="vmmcall",
        ),
    ],
)
def test_each_level_goes_on_behind_its_own_switch(enter: str, leave: str) -> None:
    step = "inc rbx\n" + put("rbx")
    run = run_vtls(
        f"mov ebx, 100\n{enter}\n{step}\n{enter}\n{step}",
        f"mov r12d, 200\n{step}\n{leave}\nadd rbx, 10\n{step}\n{leave}",
    )
    assert run.words(4) == [101, 102, 113, 114]


def test_a_call_goes_to_the_next_higher_level_and_a_return_to_the_next_lower() -> None:
    mark = "mov eax, {}\n" + put("rax")
    run = run_vtls(
        f"{vtl_call()}\n{mark.format(10)}\n{vtl_call()}\n{mark.format(11)}",
        f"""
        {mark.format(20)}
        {enable(2, "secure_2")}
        {vtl_call()}
        {mark.format(21)}
        {vtl_return(1)}
        {mark.format(22)}
        {vtl_return(1)}
        """,
        f"{mark.format(30)}\n{vtl_return(1)}",
    )
    assert run.words(6) == [20, 30, 21, 10, 22, 11]


def test_levels_need_not_be_consecutive() -> None:
    mark = "mov eax, {}\n" + put("rax")
    run = run_vtls(
        f"{enable(2, 'secure_2')}\n{vtl_call()}\n{mark.format(10)}",
        "",
        f"{get_register(VP_STATUS, own=2)}\n{put('rax')}\n{mark.format(30)}\n{vtl_return(1)}",
        enabled=False,
    )
    assert run.words(3) == [2 | 0b101 << 16, 30, 10]


def test_status_registers_show_what_is_enabled() -> None:
    run = run_vtls(
        f"""
        {get_register(CAPABILITIES, own=0)}
        {put("rax")}
        {get_register(PARTITION_STATUS, own=0)}
        {put("rax")}
        {enable_partition_vtl(1, 1)}
        {must_succeed()}
        {get_register(PARTITION_STATUS, own=0)}
        {put("rax")}
        {get_register(VP_STATUS, own=0)}
        {put("rax")}
        {enable_vp_vtl(1, "secure")}
        {must_succeed()}
        {get_register(VP_STATUS, own=0)}
        {put("rax")}
        {vtl_call()}
        """,
        f"{get_register(VP_STATUS, own=1)}\n{put('rax')}\n{vtl_return(1)}",
        enabled=False,
    )
    capabilities, *others = run.words(6)
    assert capabilities & 1 == 0
    assert capabilities >> 1 & 0xFFFF == 0b110
    assert capabilities >> 17 & 1
    partition = 2 << 16
    assert others == [
        partition | 0b001,
        partition | 0b011 | 0b10 << 20,
        0b001 << 16,
        0b011 << 16,
        1 | 0b011 << 16,
    ]


# --- return registers ------------------------------------------------------------------------


def test_entry_reason_and_return_registers_of_a_64_bit_level_a094() -> None:
    run = run_vtls(
        f"{vtl_call()}\n{vtl_call()}\n{put('rax', 'rcx', 'rdx')}",
        f"""
        {vtl_return(1)}
        {put_word(assist_page(1) + 8)}
        {store(assist_page(1) + 16, 0x1111_2222_3333_4444)}
        {store(assist_page(1) + 24, 0x5555_6666_7777_8888)}
        mov rdx, 9
        {vtl_return(0)}
        """,
    )
    reason, rax, rcx, rdx = run.words(4)
    assert reason & 0xFFFFFFFF == 1
    assert (rax, rcx, rdx) == (0x1111_2222_3333_4444, 0x5555_6666_7777_8888, 9)


def test_a_fast_return_restores_nothing() -> None:
    run = run_vtls(
        f"{vtl_call()}\n{put('rax', 'rcx')}",
        f"{store(assist_page(1) + 16, 0x1111)}\n{store(assist_page(1) + 24, 2)}\n{vtl_return(1)}",
    )
    assert run.words(2) == [1, 0x12]


def test_without_an_assist_page_a_return_restores_nothing_b105() -> None:
    run = run_vtls(
        f"{vtl_call()}\n{put('rax', 'rcx')}",
        f"{store(assist_page(1) + 16, 0x1111)}\n{write_msr(0x40000073, 0)}\n{vtl_return(0)}",
    )
    assert run.words(2) == [0, 0x12]


@pytest.mark.parametrize(("reading", "restored"), [("hyperv", True), ("openvmm", False)])
def test_entry_keeps_the_lower_levels_registers_for_the_return(
    reading: str, restored: bool
) -> None:
    run = run_vtls(
        f"{vtl_call()}\n{vtl_call()}\n{put('rax', 'rcx')}",
        f"{vtl_return(1)}\nmov rax, 7\nmov rcx, 8\n{vtl_return(0)}",
        like=reading,
    )
    # Behind the stub of the page RAX is the control input and RCX the call code.
    assert run.words(2) == ([0, 0x11] if restored else [0, 0])


# --- 32 bits ---------------------------------------------------------------------------------


def secure_32(body: str) -> bytes:
    """VTL 1 as 32-bit code without paging."""
    return assemble(
        f"""
        mov ecx, 0x40000000
        mov edx, 0x8100
        xor eax, eax
        wrmsr
        inc ecx
        xor edx, edx
        mov eax, {HYPERCALL_PAGE | 1}
        wrmsr
        mov ecx, 0x40000073
        mov eax, {assist_page(1) | 1}
        wrmsr
        {body}
        """,
        CODE,
        32,
    )


def test_a_32_bit_level_returns_with_three_registers() -> None:
    body = f"""
        mov dword ptr [{assist_page(1) + 16}], 0x11111111
        mov dword ptr [{assist_page(1) + 20}], 0x22222222
        mov dword ptr [{assist_page(1) + 24}], 0x33333333
        xor eax, eax
        mov ebp, {HYPERCALL_PAGE + VTL_RETURN_OFFSET_32}
        call ebp
        mov esi, dword ptr [{assist_page(1) + 8}]
        mov edi, esp
        mov eax, 1
        mov ecx, eax
        mov eax, 0x12
        vmcall
    """
    run = run_vtls(
        f"""
        mov rcx, {CODE}
        mov rax, {CONTEXTS + 0x110}
        mov [rax], rcx
        {enable_partition_vtl()}
        {must_succeed()}
        {call(0xF, CONTEXTS + 0x100)}
        {must_succeed()}
        {vtl_call()}
        {put("rax", "rcx", "rdx")}
        xor edx, edx
        {vtl_call()}
        {put("rax", "rsi", "rdi")}
        """,
        "",
        enabled=False,
        context=PROTECTED_MODE,
        memory={CODE: secure_32(body)},
    )
    assert run.words(6) == [0x11111111, 0x22222222, 0x33333333, 0x12, 1, stack(1)]


def test_compatibility_mode_code_calls_through_its_own_entry() -> None:
    run = run_vtls(
        f"""
        {compatibility_mode("narrow")}
        .code32
    narrow:
        xor eax, eax
        xor edx, edx
        mov ebx, 77
        mov ebp, {HYPERCALL_PAGE + VTL_CALL_OFFSET_32}
        call ebp
        mov edi, ecx
        {back_to_64("wide")}
    wide:
        {put("rdi", "rdx", "rbx", "rsi")}
        """,
        f"mov rsi, rbx\nmov edx, 5\n{RAW_RETURN}",
    )
    assert run.words(4) == [0x12, 5, 77, 77]


# --- misuse ----------------------------------------------------------------------------------


def raw(control: int, value: int) -> str:
    return f"movabs rcx, {control}\nmov eax, {value}\nbad:\nvmcall\nret"


@pytest.mark.parametrize(
    ("control", "value"),
    [
        pytest.param(0x11, 1, id="B096"),
        pytest.param(0x10011, 0, id="call-fast"),
        pytest.param(0x1_0000_0011, 0, id="call-rep"),
        pytest.param(0x8000_0011, 0, id="call-nested"),
        pytest.param(0x12, 0, id="return-from-the-lowest"),
        pytest.param(0x12, 1, id="fast-return-from-the-lowest"),
    ],
)
def test_misuse_in_vtl_0_is_an_undefined_opcode(control: int, value: int) -> None:
    run = run_vtls(
        f"{catch('caught', 'call misuse')}\n{put_fault()}\n{put_word(FAULT + 16)}\n"
        f"mov rax, bad\n{put('rax')}",
        "mov eax, 0\n",
        functions=f"misuse:\n{raw(control, value)}",
    )
    vector, _, rip, expected = run.words(4)
    assert (vector, rip) == (6, expected)


@pytest.mark.parametrize(
    ("control", "value"),
    [
        pytest.param(0x11, 0, id="B097"),
        pytest.param(0x12, 2, id="reserved-input"),
        pytest.param(0x10012, 0, id="return-fast-bit"),
        pytest.param(0x1_0000_0012, 0, id="return-rep"),
    ],
)
def test_misuse_in_vtl_1_is_an_undefined_opcode(control: int, value: int) -> None:
    run = run_vtls(
        vtl_call(),
        f"{catch('caught', 'call misuse')}\n{put_fault()}\n{vtl_return(1)}",
        functions=f"misuse:\n{raw(control, value)}",
    )
    assert run.words(1) == [6]


def test_a_call_without_a_higher_level_is_an_undefined_opcode_b098() -> None:
    run = run_vtls(
        f"""
        {catch("before", vtl_call())}
        {put_fault()}
        {enable_partition_vtl()}
        {must_succeed()}
        {catch("still", vtl_call())}
        {put_fault()}
        """,
        "",
        enabled=False,
    )
    assert run.words(4)[::2] == [6, 6]


def test_user_code_cannot_switch() -> None:
    run = run_vtls(
        f"{catch('caught', user_mode('user'))}\n{put_fault()}\n{vtl_call()}",
        f"{catch('caught_1', user_mode('user_1'))}\n{put_fault()}\n{vtl_return(1)}",
        functions="user:\nxor eax, eax\nmov ecx, 0x11\nvmcall\nuser_1:\nmov eax, 1\n"
        "mov ecx, 0x12\nvmcall",
    )
    assert run.words(4)[::2] == [6, 6]


def test_32_bit_misuse_is_an_undefined_opcode() -> None:
    run = run_vtls(
        f"""
        {catch("caught", compatibility_mode("narrow"))}
        {put_fault()}
        jmp done
        .code32
    narrow:
        mov eax, 1
        mov ebp, {HYPERCALL_PAGE + VTL_CALL_OFFSET_32}
        call ebp
        {back_to_64("caught")}
    done:
        """,
        "",
    )
    assert run.words(1) == [6]
