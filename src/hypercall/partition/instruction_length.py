"""How long an x86 instruction is, from its bytes alone (Intel SDM, volume 2, appendix A)."""

_PREFIXES = frozenset(b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3")
_OPERAND, _ADDRESS = 0x66, 0x67

# Opcodes of one byte by what follows them. Where no letter says otherwise nothing does.
#   m ModRM; b 8-bit, w 16-bit, z 16- or 32-bit immediate; v as z, but 64-bit with REX.W;
#   o address-sized offset; e 16-bit and 8-bit; p far pointer; x not in this table.
_ALU = "m m m m b z . ."
_ONE_BYTE = " ".join(
    [
        *[_ALU] * 8,
        ". " * 32 + ". . m m x x x x z mz b mb . . . .",
        "b " * 16 + "mb mz mb mb m m m m m m m m m m m m",
        ". . . . . . . . . . p . . . . . o o o o . . . . b z . . . . . .",
        "b b b b b b b b v v v v v v v v mb mb w . m m mb mz e . w . . b . .",
        "m m m m b b . . m m m m m m m m b b b b b b b b z z p b . . . .",
        "x . x x . . g3b g3z . . . . . . m m",
    ]
).split()

# Opcodes after 0F.
_TWO_BYTE_PLAIN = frozenset(
    [
        *(0x05, 0x06, 0x07, 0x08, 0x09, 0x0B, 0x0E, 0x77, 0xA0, 0xA1, 0xA2, 0xA8, 0xA9, 0xAA),
        *range(0x30, 0x38),
        *range(0xC8, 0xD0),
    ]
)
_TWO_BYTE_IMMEDIATE_8 = frozenset(
    [0x70, 0x71, 0x72, 0x73, 0xA4, 0xAC, 0xBA, 0xC2, 0xC4, 0xC5, 0xC6, 0x0F]
)


def instruction_length(code: bytes, bits: int) -> int:
    """Return the length of the first instruction, or 0 if it cannot be told.

    Args:
        code: bytes from the start of the instruction on.
        bits: the operating mode of the code segment: 16, 32 or 64.
    """
    try:
        length = _length(code, bits)
    except IndexError:
        return 0
    return length if length <= min(len(code), 15) else 0


def _length(code: bytes, bits: int) -> int:
    position = 0
    operand_override = address_override = wide = False
    while code[position] in _PREFIXES:
        operand_override |= code[position] == _OPERAND
        address_override |= code[position] == _ADDRESS
        position += 1
    if bits == 64 and code[position] & 0xF0 == 0x40:
        wide = bool(code[position] & 8)
        position += 1
    address = _address_size(bits, address_override)
    opcode = code[position]
    position += 1
    if opcode in (0xC4, 0xC5) and (bits == 64 or code[position] >= 0xC0):
        return _vector(code, position, opcode, address)
    if opcode == 0x62 and (bits == 64 or code[position] >= 0xC0):
        return 0  # EVEX, which the processor does not have.
    if opcode == 0x0F:
        return _two_byte(code, position, bits, operand_override, address)
    form = _ONE_BYTE[opcode]
    if form.startswith("g3"):
        # TEST has an immediate, the others of the group (NOT, NEG, MUL, DIV) have none.
        form = "m" + (form[2] if code[position] & 0x38 < 0x10 else "")
    for letter in form:
        if letter == "m":
            position += _modrm_length(code, position, address)
        elif letter == "x":
            return 0
        else:
            position += _immediate(letter, bits, operand_override, wide, address)
    return position


def _address_size(bits: int, override: bool) -> int:
    if bits == 64:
        return 32 if override else 64
    return 16 if (bits == 16) != override else 32


def _immediate(letter: str, bits: int, override: bool, wide: bool, address: int) -> int:
    small = (bits == 16) != override
    if bits == 64 and wide:
        small = False
    word = 2 if small else 4
    lengths = {
        ".": 0,
        "b": 1,
        "w": 2,
        "e": 3,
        "z": word,
        "v": 8 if wide else word,
        "o": address // 8,
        "p": word + 2,
    }
    return lengths[letter]


def _modrm_length(code: bytes, position: int, address: int) -> int:
    """Return the bytes of ModRM, SIB and displacement."""
    modrm = code[position]
    mode, register = modrm >> 6, modrm & 7
    if mode == 3:
        return 1
    if address == 16:
        return 1 + (2 if mode == 2 or (mode == 0 and register == 6) else mode)
    length = 1
    base = register
    if register == 4:
        base = code[position + 1] & 7
        length = 2
    if mode == 1:
        return length + 1
    return length + (4 if mode == 2 or base == 5 else 0)


def _two_byte(code: bytes, position: int, bits: int, override: bool, address: int) -> int:
    opcode = code[position]
    position += 1
    if opcode == 0x38:
        return position + 1 + _modrm_length(code, position + 1, address)
    if opcode == 0x3A:
        return position + 2 + _modrm_length(code, position + 1, address)
    if 0x80 <= opcode <= 0x8F:
        return position + (2 if (override and bits != 64) or (bits == 16 and not override) else 4)
    if opcode in _TWO_BYTE_PLAIN:
        return position
    position += _modrm_length(code, position, address)
    return position + (opcode in _TWO_BYTE_IMMEDIATE_8)


def _vector(code: bytes, position: int, opcode: int, address: int) -> int:
    """Return the length of an instruction with a VEX prefix."""
    table = 1
    if opcode == 0xC4:
        table = code[position] & 0x1F
        position += 1
    position += 1
    operation = code[position]
    position += 1
    if table == 1 and operation == 0x77:
        return position
    position += _modrm_length(code, position, address)
    return position + (table == 3 or (table == 1 and operation in _TWO_BYTE_IMMEDIATE_8))
