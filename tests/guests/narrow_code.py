"""16-bit code outside long mode, for guests that make calls from there."""

import struct

from tests.guests.kit import GuestRun, assemble
from tests.guests.layout import CODE_16, DATA_16

CODE = 0x7000
RESULT = 0x7F00
UNDEFINED_OPCODE = 6
_POINTER, _HANDLER, _STACK = 0x7D00, 0x7E00, 0x7C00
_END = f"mov [{RESULT}], ax\nmov al, 0\nout 0xF4, al\nhlt"

GO_TO_16_BITS = f"push {CODE_16}\npush {CODE}\nretfq"
"""In 64-bit code: go to the code of `code_16`."""


def code_16(body: str, *, real_mode: bool, from_long_mode: bool = True) -> dict[int, bytes]:
    """Memory with code that leaves long or protected mode, executes text and ends the run.

    It stores AX, or the vector of #UD, for which its own interrupt table has a handler.

    Args:
        body: the text, of 16-bit code.
        real_mode: whether protected mode is left too.
        from_long_mode: whether it is entered in compatibility mode, so that EFER has to be cleared.
    """
    efer = "mov ecx, 0xC0000080\nxor eax, eax\nxor edx, edx\nwrmsr" if from_long_mode else ""
    to_real = "mov eax, cr0\nand al, 0xFE\n.byte 0x0F, 0x22, 0xC0\n.byte 0xEA\n.word real, 0"
    segments = "xor ax, ax\nmov ds, ax\nmov ss, ax"
    text = f"""
        mov ax, {DATA_16}
        mov ds, ax
        mov es, ax
        mov ss, ax
        mov eax, cr0
        and eax, 0x7FFFFFFF
        .byte 0x0F, 0x22, 0xC0
        {efer}
        {to_real if real_mode else "nop"}
    real:
        {segments if real_mode else "nop"}
        lidt [{_POINTER}]
        mov sp, {_STACK}
        {body}
        {_END}
    """
    return {
        CODE: assemble(text, CODE, 16),
        _POINTER: struct.pack("<HI", 0x3FF, 0),
        UNDEFINED_OPCODE * 4: struct.pack("<HH", _HANDLER, 0),
        _HANDLER: assemble(f"mov ax, {UNDEFINED_OPCODE}\n{_END}", _HANDLER, 16),
    }


def result_16(run: GuestRun) -> int:
    """AX at the end of the code, or the vector."""
    return int.from_bytes(run.memory(RESULT, 2), "little")
