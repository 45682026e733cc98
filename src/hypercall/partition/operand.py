"""The operand that a ModRM byte names: a register, or a place in memory (Intel SDM, volume 2)."""

from collections.abc import Callable
from typing import NamedTuple

from hypercall.tlfs.registers import RegisterName

_R = RegisterName
_SEGMENT_PREFIXES = {0x26: _R.ES, 0x2E: _R.CS, 0x36: _R.SS, 0x3E: _R.DS, 0x64: _R.FS, 0x65: _R.GS}
_OTHER_PREFIXES = frozenset(b"\x66\xf0\xf2\xf3")
_ADDRESS_PREFIX = 0x67
_ESCAPE = 0x0F
_REX_B, _REX_X = 1, 2
_SP, _BP, _SI, _DI, _BX = 4, 5, 6, 7, 3
_FORMS_16 = ((_BX, _SI), (_BX, _DI), (_BP, _SI), (_BP, _DI), (_SI,), (_DI,), (_BP,), (_BX,))
"""The registers whose sum is the address, by the last three bits of ModRM, in 16-bit addressing."""
_BASE_MASK = (1 << 64) - 1
"""Where the base stands in a segment register's value of 128 bits."""


class Operand(NamedTuple):
    """What an instruction works on.

    Attributes:
        register: the register, `RegisterName`, or None for memory.
        address: the linear address in memory; 0 for a register.
    """

    register: RegisterName | None
    address: int


class _Form(NamedTuple):
    """The parts of an address: general registers by their numbers, and a displacement."""

    registers: tuple[tuple[int, int], ...]
    displacement: int
    stack: bool
    relative: bool
    end: int


def two_byte_operand(code: bytes, bits: int, read: Callable[[int], int]) -> Operand | None:
    """Return the operand of an instruction with an opcode of two bytes and nothing behind ModRM.

    Args:
        code: bytes from the start of the instruction on.
        bits: the operating mode of the code segment: 16, 32 or 64.
        read: returns a register of the processor, by `RegisterName`.

    Returns:
        None if there are too few bytes, or another instruction.
    """
    try:
        return _operand(code, bits, read)
    except IndexError:
        return None


def _operand(code: bytes, bits: int, read: Callable[[int], int]) -> Operand | None:
    position, segment, narrow, rex = 0, None, False, 0
    while code[position] in _OTHER_PREFIXES or code[position] in (
        _ADDRESS_PREFIX,
        *_SEGMENT_PREFIXES,
    ):
        narrow |= code[position] == _ADDRESS_PREFIX
        segment = _SEGMENT_PREFIXES.get(code[position], segment)
        position += 1
    if bits == 64 and code[position] & 0xF0 == 0x40:
        rex = code[position]
        position += 1
    if code[position] != _ESCAPE:
        return None
    modrm = code[position + 2]
    if modrm >> 6 == 3:
        return Operand(RegisterName(_R.RAX + (modrm & 7) + (8 if rex & _REX_B else 0)), 0)
    size = (32 if narrow else 64) if bits == 64 else (16 if (bits == 16) != narrow else 32)
    form = _form_16(code, position + 2) if size == 16 else _form(code, position + 2, bits, rex)
    offset = form.displacement
    if form.relative:
        offset += read(_R.RIP) + form.end
    for register, scale in form.registers:
        offset += read(_R.RAX + register) * scale
    offset &= (1 << size) - 1
    if segment is None:
        segment = _R.SS if form.stack else _R.DS
    if bits == 64 and segment not in (_R.FS, _R.GS):
        return Operand(None, offset)
    linear_bits = 64 if bits == 64 else 32
    return Operand(None, (offset + (read(segment) & _BASE_MASK)) & ((1 << linear_bits) - 1))


def _displacement(code: bytes, position: int, length: int) -> int:
    if position + length > len(code):
        raise IndexError
    return int.from_bytes(code[position : position + length], "little", signed=True)


def _form_16(code: bytes, position: int) -> _Form:
    mode, low = code[position] >> 6, code[position] & 7
    position += 1
    if mode == 0 and low == 6:
        return _Form((), _displacement(code, position, 2), False, False, position + 2)
    registers = _FORMS_16[low]
    displacement = _displacement(code, position, mode)
    pairs = tuple((register, 1) for register in registers)
    return _Form(pairs, displacement, _BP in registers, False, position + mode)


def _form(code: bytes, position: int, bits: int, rex: int) -> _Form:
    mode, base = code[position] >> 6, code[position] & 7
    position += 1
    registers: list[tuple[int, int]] = []
    with_sib = base == _SP
    if with_sib:
        sib = code[position]
        position += 1
        base = sib & 7
        index = (sib >> 3 & 7) + (8 if rex & _REX_X else 0)
        if index != _SP:
            registers.append((index, 1 << (sib >> 6)))
    length = (4 if base == _BP else 0, 1, 4)[mode]
    displacement = _displacement(code, position, length)
    position += length
    if mode == 0 and base == _BP:
        relative = bits == 64 and not with_sib
        return _Form(tuple(registers), displacement, False, relative, position)
    base += 8 if rex & _REX_B else 0
    registers.append((base, 1))
    return _Form(tuple(registers), displacement, base in (_SP, _BP), False, position)
