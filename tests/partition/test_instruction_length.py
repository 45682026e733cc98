import capstone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.partition.instruction_length import instruction_length

MODES = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}


@pytest.mark.parametrize(
    ("code", "bits", "length"),
    [
        ("48 8b 00", 64, 3),
        ("48 89 00", 64, 3),
        ("c6 05 00 00 00 00 01", 64, 7),
        ("48 b8 01 02 03 04 05 06 07 08", 64, 10),
        ("66 b8 01 02", 64, 4),
        ("b8 01 02", 16, 3),
        ("8b 44 24 08", 32, 4),
        ("8b 84 c8 00 10 00 00", 32, 7),
        ("8b 04 25 00 10 00 00", 64, 7),
        ("a1 00 10 00 00", 32, 5),
        ("a1 00 10 00 00 00 00 00 00", 64, 9),
        ("f6 00 01", 64, 3),
        ("f7 18", 64, 2),
        ("f3 48 a5", 64, 3),
        ("f0 48 0f c1 07", 64, 5),
        ("0f 11 07", 64, 3),
        ("0f 01 1d 00 00 00 00", 64, 7),
        ("0f ae 00", 64, 3),
        ("66 0f 3a 0f 07 08", 64, 6),
        ("66 0f 38 00 07", 64, 5),
        ("c5 f8 77", 64, 3),
        ("c4 e3 7d 18 07 01", 64, 6),
        ("ff 25 00 00 00 00", 64, 6),
        ("c8 01 00 02", 64, 4),
        ("0f 84 00 00 00 00", 64, 6),
        ("8b 07", 16, 2),
        ("67 8b 07", 16, 3),
        ("8b 87 00 10", 16, 4),
        ("0f 22 c0", 64, 3),
        ("0f 30", 64, 2),
    ],
)
def test_known_instructions(code: str, bits: int, length: int) -> None:
    data = bytes.fromhex(code.replace(" ", ""))
    assert instruction_length(data + b"\x90" * (15 - len(data)), bits) == length
    assert instruction_length(data, bits) == length
    assert instruction_length(data[:-1], bits) == 0, "an instruction that is cut off"


@pytest.mark.parametrize("code", [b"", b"\x48", b"\x62\xf1\x7c\x48\x10\x00", b"\x66" * 16])
def test_what_cannot_be_told(code: bytes) -> None:
    assert instruction_length(code, 64) == 0


MEMORY_ACCESSES = (
    *(0x00, 0x01, 0x02, 0x03, 0x08, 0x29, 0x31, 0x39, 0x3A, 0x3B, 0x63, 0x69, 0x6B),
    *(0x80, 0x81, 0x83, 0x84, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0xC0, 0xC1, 0xC6, 0xC7),
    *(0xD1, 0xD3, 0xF6, 0xF7, 0xFE, 0xFF, 0xA4, 0xA5, 0xAA, 0xAB, 0xA0, 0xA3),
)


@settings(max_examples=400)
@given(
    bits=st.sampled_from((32, 64)),
    prefix=st.sampled_from((b"", b"\x66", b"\x67", b"\xf0", b"\x65")),
    wide=st.booleans(),
    opcode=st.sampled_from(MEMORY_ACCESSES),
    rest=st.binary(min_size=13, max_size=13),
)
def test_the_length_is_that_of_a_disassembler(
    bits: int, prefix: bytes, wide: bool, opcode: int, rest: bytes
) -> None:
    code = prefix + (b"\x48" if wide and bits == 64 else b"") + bytes([opcode]) + rest
    code = code[:15]
    decoder = capstone.Cs(capstone.CS_ARCH_X86, MODES[bits])
    found = next(decoder.disasm_lite(code, 0), None)
    if found is not None:
        assert instruction_length(code, bits) == found[1], code.hex()
