"""What guest code does with a call's result, and how the code around a place is shown."""

import keystone
import pytest

from hypercall.checks.code import Fate, disassemble_around, fate_of_result

BASE = 0x1000


def assemble(text: str, bits: int = 64) -> bytes:
    mode = keystone.KS_MODE_64 if bits == 64 else keystone.KS_MODE_32
    code, _ = keystone.Ks(keystone.KS_ARCH_X86, mode).asm(text, BASE, as_bytes=True)
    return bytes(code)


def fate(text: str, bits: int = 64) -> Fate:
    code = assemble(text, bits)
    return fate_of_result(lambda at, size: code[at - BASE : at - BASE + size], bits, BASE)


@pytest.mark.parametrize(
    "text",
    [
        "mov eax, 5",
        "nop dword ptr [rax]\nmov eax, 5",
        "mov rbx, 1\nxor eax, eax",
        "pop rax",
        "jmp over\nnop\nover:\nmov rax, rbx",
        "test ebx, ebx\njz other\nmov eax, 1\nother:\nmov eax, 2",
        "call function\nret\nfunction:\npush rbx\nmov eax, [rdi]\ntest eax, eax\nret",
    ],
)
def test_a_result_is_overwritten(text: str) -> None:
    assert fate(text) is Fate.OVERWRITTEN


@pytest.mark.parametrize(
    "text",
    [
        "test ax, ax",
        "mov ebx, eax\nmov eax, 5",
        "and eax, 0xFFFF",
        "mov [rsp], rax",
        "cmovz rax, rbx",
        "test ebx, ebx\njz other\nmov eax, 1\nother:\ncmp eax, 2",
        "jmp [rax]",
    ],
)
def test_a_result_is_read(text: str) -> None:
    assert fate(text) is not Fate.OVERWRITTEN


@pytest.mark.parametrize(
    "text", ["ret", "jmp rbx", "mov al, 1", "vmcall", "loop_:\njmp loop_", "nop", "hlt"]
)
def test_of_a_result_that_leaves_nothing_is_known(text: str) -> None:
    assert fate(text) is Fate.UNKNOWN


def test_32_bit_code_is_followed() -> None:
    assert fate("inc ebx\nmov eax, 5", 32) is Fate.OVERWRITTEN


def test_the_call_before_a_place_is_shown() -> None:
    before = assemble("mov ecx, 0x1000b\nmov edx, 0x40\ncall 0x2000")
    code = before + assemble("test eax, eax\nret")
    place = BASE + len(before)
    lines = disassemble_around(code, BASE, place)
    assert lines[-3:] == [
        f"   {place - 5:x}  call 0x2000",
        f"=> {place:x}  test eax, eax",
        f"   {place + 2:x}  ret",
    ]


def test_code_that_was_not_read_is_not_shown() -> None:
    assert disassemble_around(b"", 0, 0x1000) == []
    assert disassemble_around(b"\x90", 0x1000, 0x2000) == []
