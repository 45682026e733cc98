"""Writes the names that a guest has for its addresses as an ELF file for gdb.

The file has no code, only sections that say where code and data are, and the symbols.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from hypercall.errors import InputError
from hypercall.machine.listening import reason_of
from hypercall.trace.symbols import SymbolTable

MOST_SYMBOLS = 2_000_000
"""More names than any kernel has are not written."""

_SUFFIX = ".elf"
_MARK = b"symbols of a guest of hypercall\0"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _STRTAB, _NOBITS = 2, 3, 8
_ALLOCATED, _EXECUTABLE = 2, 4
_GLOBAL_FUNCTION, _GLOBAL_OBJECT = 0x12, 0x11
_ABSOLUTE = 0xFFF1
_ADDRESSES = 1 << 64
_PAST_THE_LAST = 0x1000
# What a kernel calls the bounds of its code.
_CODE_BOUNDS = (("_text", "_etext"), ("_sinittext", "_einittext"))


def write_symbol_file(path: Path, table: SymbolTable, modules: Iterable[SymbolTable] = ()) -> int:
    """Write a table to a file that gdb's ``add-symbol-file`` reads.

    Args:
        path: the file, whose name ends in ``.elf``. Only a file that this function has written
            is replaced, since whoever is at gdb's prompt need not be the user of this host.
        table: the names.
        modules: the functions of each module.

    Returns:
        How many symbols the file has.

    Raises:
        InputError: the file is something else, or cannot be written.
    """
    if path.suffix != _SUFFIX:
        raise InputError(f"{path}: the name of a symbol file ends in {_SUFFIX}")
    data, count = symbol_file(table, modules)
    try:
        if path.is_symlink() or (path.exists() and not _is_ours(path)):
            raise InputError(f"{path} is there already and is no symbol file: choose another name")
        path.unlink(missing_ok=True)
        with path.open("xb") as file:
            file.write(data)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {reason_of(error)}") from None
    return count


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_HEADER.size + len(_MARK)).endswith(_MARK)


def symbol_file(table: SymbolTable, modules: Iterable[SymbolTable] = ()) -> tuple[bytes, int]:
    """Make the file.

    Args:
        table: the names.
        modules: the functions of each module, which are code.

    Returns:
        The bytes of a 64-bit ELF file for x86, and the number of symbols in it.
    """
    pairs = [pair for _, pair in zip(range(MOST_SYMBOLS), table, strict=False)]
    code = _code(table, pairs)
    for functions in map(list, modules):
        if functions:
            code.append((functions[0][0], min(functions[-1][0] + _PAST_THE_LAST, _ADDRESSES - 1)))
            pairs += functions
    code = _joined(code)
    pairs = sorted(pairs, key=lambda pair: pair[0])[:MOST_SYMBOLS]
    starts = [first for first, _ in code]
    strings = bytearray(b"\0")
    symbols = [bytes(_SYMBOL.size)]
    for (address, name), end in zip(pairs, _ends(pairs), strict=True):
        place = bisect_right(starts, address) - 1
        in_code = place >= 0 and address < code[place][1]
        symbols.append(
            _SYMBOL.pack(
                len(strings),
                _GLOBAL_FUNCTION if in_code else _GLOBAL_OBJECT,
                0,
                place + 1 if in_code else _ABSOLUTE,
                address,
                min(end - address, 1 << 20),
            )
        )
        strings += name.encode("utf-8", "replace").replace(b"\0", b"?") + b"\0"
    return _file(code, b"".join(symbols), bytes(strings)), len(pairs)


def _ends(pairs: list[tuple[int, str]]) -> list[int]:
    """Where each symbol ends: where the next one with another address begins."""
    ends = [0] * len(pairs)
    following = pairs[-1][0] + 1 if pairs else 0
    for index in range(len(pairs) - 1, -1, -1):
        if index + 1 < len(pairs) and pairs[index + 1][0] != pairs[index][0]:
            following = pairs[index + 1][0]
        ends[index] = following
    return ends


def _code(table: SymbolTable, pairs: list[tuple[int, str]]) -> list[tuple[int, int]]:
    """The ranges of code, in ascending order; all that has names if the guest does not tell."""
    found = []
    for first, last in _CODE_BOUNDS:
        start, end = table.address_of(first), table.address_of(last)
        if start is not None and end is not None and start < end:
            found.append((start, end))
    found.sort()
    if found and all(before[1] <= after[0] for before, after in pairwise(found)):
        return found
    if not pairs:
        return []
    # A label of assembly at the end has no size, but something lies there.
    return [(pairs[0][0], min(pairs[-1][0] + _PAST_THE_LAST, _ADDRESSES - 1))]


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges in ascending order, those that touch as one."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined


def _file(code: list[tuple[int, int]], symbols: bytes, strings: bytes) -> bytes:
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    symbols_at = _HEADER.size + len(_MARK)
    strings_at = symbols_at + len(symbols)
    names_at = strings_at + len(strings)
    sections_at = -(-(names_at + len(names)) // 8) * 8
    strtab = len(code) + 2
    sections = [bytes(_SECTION.size)]
    sections += [
        _SECTION.pack(
            *(names.index(b".text"), _NOBITS, _ALLOCATED | _EXECUTABLE, first),
            *(symbols_at, end - first, 0, 0, 16, 0),
        )
        for first, end in code
    ]
    sections.append(
        _SECTION.pack(
            *(names.index(b".symtab"), _SYMTAB, 0, 0, symbols_at, len(symbols)),
            *(strtab, 1, 8, _SYMBOL.size),
        )
    )
    for name, start, size in (
        (b".strtab", strings_at, len(strings)),
        (b".shstrtab", names_at, len(names)),
    ):
        sections.append(_SECTION.pack(names.index(name), _STRTAB, 0, 0, start, size, 0, 0, 1, 0))
    header = _HEADER.pack(
        b"\x7fELF\x02\x01\x01".ljust(16, b"\0"),
        *(2, 62, 1, 0, 0, sections_at, 0, _HEADER.size, 0, 0),
        *(_SECTION.size, len(sections), len(sections) - 1),
    )
    body = header + _MARK + symbols + strings + names
    return body.ljust(sections_at, b"\0") + b"".join(sections)
