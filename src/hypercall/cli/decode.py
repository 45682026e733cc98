"""``hypercall decode``: take control words, parameters and results apart."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hypercall.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hypercall.tlfs.control import ControlWord
    from hypercall.tlfs.declaration import CallDeclaration

_WIDTH_WITHOUT_TERMINAL = 120
_U64 = (1 << 64) - 1
_XMM_HELP = "XMM{}, as two words LOW:HIGH or as 32 hexadecimal digits, highest first."
_REGISTER_NAMES = ("--rdx", "--r8", *(f"--xmm{number}" for number in range(6)))


def decode_command(
    control: Annotated[
        str | None,
        typer.Argument(metavar="[CONTROL]", help="The control word (RCX, or EDX:EAX)."),
    ] = None,
    rdx: Annotated[
        str | None, typer.Option(help="RDX (EBX:ECX): first 8 bytes, or the input's address.")
    ] = None,
    r8: Annotated[
        str | None, typer.Option(help="R8 (EDI:ESI): second 8 bytes, or the output's address.")
    ] = None,
    xmm0: Annotated[str | None, typer.Option(help=_XMM_HELP.format(0))] = None,
    xmm1: Annotated[str | None, typer.Option(help=_XMM_HELP.format(1))] = None,
    xmm2: Annotated[str | None, typer.Option(help=_XMM_HELP.format(2))] = None,
    xmm3: Annotated[str | None, typer.Option(help=_XMM_HELP.format(3))] = None,
    xmm4: Annotated[str | None, typer.Option(help=_XMM_HELP.format(4))] = None,
    xmm5: Annotated[str | None, typer.Option(help=_XMM_HELP.format(5))] = None,
    input: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The input list's bytes in memory order; spaces allowed."),
    ] = None,
    result: Annotated[
        str | None, typer.Option(metavar="VALUE", help="A result word (RAX, or EDX:EAX).")
    ] = None,
) -> None:
    """Show what a control word, its parameters and a result word say.

    Numbers are decimal, or hexadecimal with 0x. Registers that are not given end the input there.
    """
    from rich.console import Console

    found = decode(control, (rdx, r8, xmm0, xmm1, xmm2, xmm3, xmm4, xmm5), input, result)
    stream = sys.stdout
    width = None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL
    console = Console(file=stream, width=width, highlight=False)
    for renderable in found:
        console.print(renderable)


def decode(
    control: str | None,
    registers: Sequence[str | None],
    input: str | None = None,
    result: str | None = None,
) -> list[RenderableType]:
    """Return what the words say.

    Args:
        control: the control word as typed, if one was.
        registers: RDX, R8 and XMM0 to XMM5 as typed.
        input: the input list in hexadecimal, if typed.
        result: the result word as typed, if one was.

    Raises:
        InputError: something is no number or no hexadecimal bytes, or nothing is to be decoded.
    """
    from hypercall.abi.decoder import decode_call, result_text
    from hypercall.abi.record import CallRecord
    from hypercall.tlfs.calls import DECLARATIONS
    from hypercall.tlfs.control import ControlWord

    words = parse_registers(registers)
    if control is None:
        if result is None:
            raise InputError("nothing to decode: give a control word, or --result VALUE")
        if words or input is not None:
            raise InputError("registers and --input mean nothing without a control word")
        return [f"result {result_text(parse_word(result, '--result'))}"]
    if input is not None and words:
        raise InputError("--input and registers: give the input in one of the two ways")
    value = parse_word(control, "the control word")
    word = ControlWord.parse(value)
    declaration = DECLARATIONS.by_code.get(word.code)
    in_list = b"".join(words) if word.fast else b""
    data = in_list if input is None else parse_bytes(input)
    in_registers = [int.from_bytes(each, "little") for each in words]
    record = CallRecord(
        vp_index=0,
        vtl=0,
        declaration=declaration,
        control=value,
        fast=word.fast,
        input_register=in_registers[0] if words else 0,
        output_register=in_registers[1] if len(words) > 1 else 0,
        input=data,
    )
    found = _describe_control(word, declaration)
    decoded = decode_call(record)
    if words or input is not None:
        found.append(_grid("input", [(each.name, each.text) for each in decoded.arguments]))
    if result is not None:
        found.append(f"result {result_text(parse_word(result, '--result'), declaration)}")
    return found


def _describe_control(
    word: ControlWord, declaration: CallDeclaration | None
) -> list[RenderableType]:
    name = declaration.name if declaration else "unknown call"
    form = "parameters in registers" if word.fast else "parameters in memory"
    rows = [
        ("code", f"{word.code:#06x}"),
        ("fast", f"{int(word.fast)} ({form})"),
        ("variable_header_size", f"{word.variable_header_size} words of 8 bytes"),
        ("nested", str(int(word.nested))),
        ("rep_count", str(word.rep_count)),
        ("rep_start", str(word.rep_start)),
    ]
    found: list[RenderableType] = [f"[bold]{name}[/bold] ({word.code:#06x})"]
    found.append(_grid(f"control word {word.value:#018x}", rows))
    found += [f"note: {text}" for text in control_notes(word, declaration)]
    return found


def control_notes(word: ControlWord, declaration: CallDeclaration | None) -> list[str]:
    """Return what of a control word a hypervisor would refuse whatever its partition is."""
    from hypercall.tlfs.declaration import FastForm

    notes = []
    if word.reserved:
        notes.append(f"reserved bits are set: {word.reserved:#x}")
    if declaration is None:
        notes.append("no call of the reference has this code")
        return notes
    if word.variable_header_size and declaration.variable_header is None:
        notes.append("this call takes no variable header")
    if declaration.is_rep and word.rep_start >= word.rep_count:
        notes.append("a rep call needs a rep count above its rep start index")
    if not declaration.is_rep and (word.rep_count or word.rep_start):
        notes.append("a simple call takes neither rep count nor rep start index")
    if word.fast and declaration.fast is FastForm.NO:
        notes.append("this call has no register form")
    return notes


def _grid(title: str, rows: Sequence[tuple[str, str]]) -> RenderableType:
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    for name, text in rows:
        grid.add_row(f"  {name}", escape(text))
    return Group(title, grid)


def parse_word(text: str, what: str) -> int:
    """Read a 64-bit number.

    Args:
        text: decimal, or hexadecimal with 0x.
        what: what it is for, for the message.

    Raises:
        InputError: it is no number, or more than 64 bits.
    """
    try:
        value = int(text, 0)
    except ValueError:
        shown = text if len(text) <= 40 else f"{text[:40]}..."
        raise InputError(
            f"{what}: {shown!r} is not a number: write it in decimal, or in hexadecimal with 0x"
        ) from None
    if not 0 <= value <= _U64:
        raise InputError(f"{what}: {text[:40]} is not a number of 64 bits")
    return value


def parse_registers(texts: Sequence[str | None]) -> list[bytes]:
    """Read RDX, R8 and XMM0 to XMM5 as bytes, up to the first that is not given.

    Raises:
        InputError: one is no number, or a register after one that is not given is.
    """
    words: list[bytes] = []
    missing: str | None = None
    for name, text in zip(_REGISTER_NAMES, texts, strict=True):
        if text is None:
            missing = missing or name
            continue
        if missing is not None:
            raise InputError(f"{name} without {missing}: give the registers from --rdx on")
        if name.startswith("--xmm"):
            words.append(parse_xmm(text, name))
        else:
            words.append(parse_word(text, name).to_bytes(8, "little"))
    return words


def parse_xmm(text: str, what: str) -> bytes:
    """Read an XMM register as its 16 bytes.

    Args:
        text: ``LOW:HIGH``, two numbers of 64 bits; or 32 hexadecimal digits, highest first, with
            or without 0x.
        what: the option, for the message.

    Raises:
        InputError: it is neither.
    """
    low, colon, high = text.partition(":")
    if colon:
        parts = (parse_word(low, what), parse_word(high, what))
        return b"".join(part.to_bytes(8, "little") for part in parts)
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    try:
        if len(digits) == 32:
            return bytes.fromhex(digits)[::-1]
    except ValueError:
        pass
    raise InputError(f"{what}: {text[:40]!r} is neither LOW:HIGH nor 32 hexadecimal digits")


def parse_bytes(text: str) -> bytes:
    """Read bytes in hexadecimal, in memory order; spaces and a leading 0x are allowed.

    Raises:
        InputError: it is not hexadecimal, or half a byte.
    """
    digits = "".join(text.split())
    digits = digits[2:] if digits[:2] in ("0x", "0X") else digits
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise InputError(
            "--input: not hexadecimal bytes: write two digits for each byte, lowest address first"
        ) from None
