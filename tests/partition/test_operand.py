"""The operands of LGDT, LIDT, LLDT and LTR; a disassembler says what is right."""

import capstone
import pytest
from capstone import x86
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.partition.operand import Operand, two_byte_operand
from hypercall.tlfs.registers import RegisterName

R = RegisterName
MODES = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}
GENERAL = ("AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI")
# What each register has; segments have their bases in the low half.
VALUES = {R.RAX + n: 0x1111_2222_3333_0001 * (n + 1) & (1 << 64) - 1 for n in range(16)}
VALUES |= {R.RIP: 0x40_1000, R.ES: 0x100, R.CS: 0x200, R.SS: 0x300, R.DS: 0x400}
VALUES |= {R.FS: 0xFFFF_8000_0000_0500 | 7 << 96, R.GS: 0x600}


def value_of(name: str) -> int:
    """The value of a register that the disassembler names."""
    if name in ("rip", "eip"):
        return VALUES[R.RIP]
    if name[0] in "re" and name[1:].upper() in GENERAL:
        return VALUES[R.RAX + GENERAL.index(name[1:].upper())]
    if name.upper() in GENERAL:
        return VALUES[R.RAX + GENERAL.index(name.upper())]
    return VALUES[RegisterName[name.rstrip("dw").upper()]]


def expected(code: bytes, bits: int) -> tuple[Operand, int] | None:
    disassembler = capstone.Cs(capstone.CS_ARCH_X86, MODES[bits])
    disassembler.detail = True
    instruction = next(disassembler.disasm(code, 0), None)
    if instruction is None or instruction.mnemonic not in ("lgdt", "lidt", "lldt", "ltr"):
        return None
    (operand,) = instruction.operands
    if operand.type == x86.X86_OP_REG:
        name = instruction.reg_name(operand.reg)
        number = GENERAL.index(name.upper()) if name.upper() in GENERAL else None
        register = R.RAX + number if number is not None else RegisterName[name.rstrip("dw").upper()]
        return Operand(R(register), 0), instruction.size
    memory = operand.mem
    address = memory.disp
    stack = False
    for register, scale in ((memory.base, 1), (memory.index, memory.scale)):
        if register and instruction.reg_name(register) not in ("riz", "eiz"):
            name = instruction.reg_name(register)
            address += value_of(name) * scale
            stack |= register == memory.base and name in ("rsp", "rbp", "esp", "ebp", "sp", "bp")
            if name in ("rip", "eip"):
                address += instruction.size
    address &= (1 << instruction.addr_size * 8) - 1
    segment = instruction.reg_name(memory.segment).upper() if memory.segment else None
    base = RegisterName[segment] if segment else (R.SS if stack else R.DS)
    if bits != 64:
        return Operand(None, (address + VALUES[base]) & 0xFFFFFFFF), instruction.size
    if base in (R.FS, R.GS):
        address = (address + (VALUES[base] & (1 << 64) - 1)) & (1 << 64) - 1
    return Operand(None, address), instruction.size


@settings(max_examples=600, deadline=None, derandomize=True)
@given(
    prefixes=st.lists(
        st.sampled_from([0x66, 0x67, 0x2E, 0x36, 0x64, 0x65]), max_size=2, unique=True
    ),
    rex=st.one_of(st.just(b""), st.integers(0x40, 0x4F).map(lambda byte: bytes([byte]))),
    operation=st.sampled_from([(0x01, 2), (0x01, 3), (0x00, 2), (0x00, 3)]),
    mode=st.integers(0, 3),
    low=st.integers(0, 7),
    rest=st.binary(min_size=5, max_size=5),
    bits=st.sampled_from([16, 32, 64]),
)
def test_the_operand_is_that_of_a_disassembler(
    prefixes: list[int],
    rex: bytes,
    operation: tuple[int, int],
    mode: int,
    low: int,
    rest: bytes,
    bits: int,
) -> None:
    opcode, extension = operation
    code = bytes(prefixes) + (rex if bits == 64 else b"")
    code += bytes([0x0F, opcode, mode << 6 | extension << 3 | low]) + rest
    right = expected(code, bits)
    if right is None:
        return
    operand, size = right
    assert two_byte_operand(code, bits, VALUES.__getitem__) == operand
    assert two_byte_operand(code[:size], bits, VALUES.__getitem__) == operand
    assert two_byte_operand(code[: size - 1], bits, VALUES.__getitem__) is None


@pytest.mark.parametrize(
    ("code", "bits", "operand"),
    [
        pytest.param("0f0113", 64, Operand(None, VALUES[R.RBX]), id="lgdt [rbx]"),
        pytest.param("0f011d10000000", 64, Operand(None, 0x40_1017), id="lidt [rip + 16]"),
        pytest.param("410f00d9", 64, Operand(R.R9, 0), id="ltr r9w"),
        pytest.param("0f01160012", 16, Operand(None, 0x1600), id="lgdt [0x1200]"),
    ],
)
def test_known_operands(code: str, bits: int, operand: Operand) -> None:
    assert two_byte_operand(bytes.fromhex(code), bits, VALUES.__getitem__) == operand


@pytest.mark.parametrize("code", [b"", b"\x0f", b"\x0f\x01", b"\x8b\x00", b"\x66" * 15])
def test_what_has_no_such_operand(code: bytes) -> None:
    assert two_byte_operand(code, 64, VALUES.__getitem__) is None
