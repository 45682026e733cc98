"""Names for code in the modules of a running Linux kernel, found in its memory.

The kernel keeps its modules in a list whose head is the symbol ``modules``. Of ``struct module``
only the beginning lies at the same place in every version: the state, the links of the list and
the name. What leads to the symbols is told by its shape (``kernel/module/kallsyms.c``)::

    struct mod_kallsyms *kallsyms;          which of the two holds now
    struct mod_kallsyms core_kallsyms;      symtab, num_symtab, strtab, and more in newer ones

While a module initializes, ``kallsyms`` leads to all symbols of its file, and afterwards to
``core_kallsyms``, which has those of what stays. Both begin with the symbol that every ELF table
begins with, which has neither name nor value.

All of it is the guest's, which may change any of it at any time or make it up: whatever is not as
it should be is passed over, nothing is followed twice, and every search has an end.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from hypercall.trace.symbols import KERNEL_HALF, Place

"""Where the addresses of kernels begin."""
MODULES = "modules"
"""The symbol of the head of the list."""
MOST_MODULES = 1024
MOST_SYMBOLS = 1 << 17
"""More symbols than any module has are not looked at."""
MOST_WORK = 100_000
"""How much one search may do; one is a piece of memory read, or 16 symbols looked at."""

Read = Callable[[int, int], bytes | None]
"""``read(address, length)`` gives guest-virtual memory of the kernel, or None if part is absent."""

Evidence = tuple[tuple[int, int, bytes | None], ...]
"""Pieces of guest memory that an answer rests on: address, length and content (None: absent)."""

_LINKS = struct.Struct("<QQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_TABLE = struct.Struct("<QIIQ")
# Counted from the links, which are what the list leads to.
_STATE, _NAME = -8, 16
_NAME_SIZE = 56
_UNFORMED = 3
_HEADER_SIZE = 8 + _NAME + _NAME_SIZE
_MODULE_NAME = re.compile(rb"([\w.-]+)\0")
_SYMBOL_NAME = re.compile(rb"([!-~]+)\0")
_LONGEST_NAME = 512
# What a structure can be long at most, and what of it is read if the end of that is absent.
_SIZES = (4096, 2048, 1024)
_PAGE = 4096
_LABEL, _FUNCTION = 0, 2
# Kernels before 5.2 have the letter of nm in place of the type.
_LETTERS = frozenset(b"tTwW")
_UNDEFINED, _FIRST_RESERVED_SECTION = 0, 0xFF00
_LONGEST_FUNCTION = 1 << 20
_SYMBOLS_PER_WORK = 16
_MOST_CANDIDATES = 8


class ModulePlace(NamedTuple):
    """What a search has found.

    Attributes:
        place: the name of the address, or None if no module has one.
        evidence: as long as this is what is in memory, another search would find the same.
        work: how much there was to do, see `MOST_WORK`.
    """

    place: Place | None
    evidence: Evidence
    work: int


class Module(NamedTuple):
    """A module in the list.

    Attributes:
        links: the guest-virtual address of its links in the list.
        name: its name.
    """

    links: int
    name: str


class _Symbols(NamedTuple):
    """A module's symbols: the ELF table, how many it has, its names, and what says so."""

    table: int
    size: int
    names: int
    evidence: Evidence


def holds(read: Read, evidence: Evidence) -> bool:
    """Tell whether memory still has what an answer rests on."""
    return all(read(address, length) == content for address, length, content in evidence)


class _TooMuch(Exception):  # noqa: N818
    """A search has done what it may."""


class _Search:
    """Memory that is read for one search.

    Attributes:
        work: how much was done.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self.work = 0

    def read(self, address: int, length: int) -> bytes | None:
        """Read as the function that was given does, and count it."""
        self.count(1 + length // _PAGE)
        return self._read(address, length)

    def count(self, work: int) -> None:
        """Count what was done otherwise."""
        self.work += work
        if self.work > MOST_WORK:
            raise _TooMuch


def find_in_modules(read: Read, heads: Iterable[int], address: int) -> ModulePlace:
    """Name an address by the modules that are loaded now.

    Args:
        read: reads memory by the kernel's page tables.
        heads: the addresses that the head of the list may have.
        address: a guest-virtual address in the kernel's half.
    """
    search = _Search(read)
    seen: list[tuple[int, int, bytes | None]] = []
    try:
        for head in heads:
            seen.append(_piece(search.read, head, _LINKS.size))
            modules = list(list_modules(search.read, head))
            if modules:
                # The newest is first: another one would change these.
                seen.append(_piece(search.read, modules[0].links + _STATE, _HEADER_SIZE))
            # Code lies near its module's data, so that the first is mostly the one.
            for module in sorted(modules, key=lambda module: abs(module.links - address)):
                symbols = find_symbols(search.read, module)
                if symbols is None:
                    continue
                search.count(symbols.size // _SYMBOLS_PER_WORK)
                found = _covering(search.read, symbols, address)
                if found is not None:
                    who = (
                        _piece(search.read, module.links + _STATE, 4),
                        _piece(search.read, module.links + _NAME, _NAME_SIZE),
                    )
                    place = Place(*found, module.name)
                    return ModulePlace(place, who + symbols.evidence, search.work)
    except _TooMuch:
        pass
    return ModulePlace(None, tuple(seen), search.work)


def list_modules(read: Read, head: int) -> Iterator[Module]:
    """Walk the list of the modules whose symbols can be asked for, the newest first.

    Args:
        read: reads memory by the kernel's page tables.
        head: the address of the list's head.
    """
    seen = {head}
    links = _next(read, head)
    while links is not None and links not in seen and len(seen) <= MOST_MODULES:
        seen.add(links)
        header = read(links + _STATE, _HEADER_SIZE)
        if header is None:
            return
        name = _MODULE_NAME.match(header, _NAME - _STATE)
        # Of one that is not complete yet only the name is there.
        if name and int.from_bytes(header[:4], "little") != _UNFORMED:
            yield Module(links, name[1].decode("ascii", "replace"))
        links = _next(read, links)


def functions_of(read: Read, module: Module) -> list[tuple[int, str]]:
    """Return the address and name of each function of a module, in the order of its table."""
    symbols = find_symbols(read, module)
    data = None if symbols is None else read(symbols.table, symbols.size * _SYMBOL.size)
    if symbols is None or data is None:
        return []
    return [
        (value, text)
        for name, info, _, section, value, size in _SYMBOL.iter_unpack(data)
        if size and _is_code(info, section) and value >= KERNEL_HALF
        if (text := _name_at(read, symbols.names + name)) is not None
    ]


def find_symbols(read: Read, module: Module) -> _Symbols | None:
    """Find the symbols of a module by the shape of what leads to them, or None."""
    start = module.links + _STATE
    data = next((data for size in _SIZES if (data := read(start, size)) is not None), None)
    if data is None:
        # The structure may end with its page.
        data = read(start, _PAGE - start % _PAGE) or b""
    words = struct.unpack(f"<{len(data) // 8}Q", data[: len(data) // 8 * 8])
    for index in range(_HEADER_SIZE // 8, len(words) - 3):
        current, table, count, names = words[index : index + 4]
        if (
            current >= KERNEL_HALF
            and table >= KERNEL_HALF
            and names >= KERNEL_HALF
            and not (current | table) & 7
            and 0 < count & 0xFFFF_FFFF <= MOST_SYMBOLS
        ):
            found = _follow(read, start + 8 * index, current)
            if found is not None:
                return found
    return None


def _follow(read: Read, pointer: int, current: int) -> _Symbols | None:
    """Check what may be a module's two tables; ``pointer`` is where ``current`` was read."""
    own = read(pointer + 8, _TABLE.size)
    now = own if current == pointer + 8 else read(current, _TABLE.size)
    if own is None or now is None or not _begins_as_table(read, own):
        return None
    if now is not own and not _begins_as_table(read, now):
        return None
    table, count, _, names = _TABLE.unpack(now)
    evidence: Evidence
    if current == pointer + 8:
        evidence = (_piece(read, pointer, 8 + _TABLE.size),)
    else:
        evidence = (_piece(read, pointer, 8), (current, _TABLE.size, now))
    return _Symbols(table, count, names, evidence)


def _begins_as_table(read: Read, content: bytes) -> bool:
    table, count, _, names = _TABLE.unpack(content)
    if not (table >= KERNEL_HALF and names >= KERNEL_HALF and 0 < count <= MOST_SYMBOLS):
        return False
    first = read(table, _SYMBOL.size)
    if first is None or read(names, 1) != b"\0":
        return False
    name, _, _, section, value, size = _SYMBOL.unpack(first)
    return not (name or section or value or size)


def _covering(read: Read, symbols: _Symbols, address: int) -> tuple[str, int] | None:
    """Return the name of the function that has an address in it, and the offset from its start."""
    data = read(symbols.table, symbols.size * _SYMBOL.size)
    if data is None:
        return None
    functions, labels = [], []
    for name, info, _, section, value, size in _SYMBOL.iter_unpack(data):
        if not value <= address or not _is_code(info, section):
            continue
        # Behind a call that does not return may be nothing: the address is its function's end.
        if size and address - value <= size <= _LONGEST_FUNCTION:
            functions.append((-value, name))
        elif not size and value // _PAGE == address // _PAGE:
            # Labels of assembly have no size, but a page has the code of one module only.
            labels.append((-value, name))
    # The nearest is what the kernel says too, of several there the first.
    functions.sort(key=lambda candidate: candidate[0])
    labels.sort(key=lambda candidate: candidate[0])
    for value, name in (functions + labels)[:_MOST_CANDIDATES]:
        text = _name_at(read, symbols.names + name)
        if text is not None:
            return text, address + value
    return None


def _is_code(info: int, section: int) -> bool:
    return _UNDEFINED < section < _FIRST_RESERVED_SECTION and (
        info & 0xF in (_LABEL, _FUNCTION) or info in _LETTERS
    )


def _name_at(read: Read, address: int) -> str | None:
    """Return the text of a name, or None where there is none that could be shown."""
    text = read(address, min(_LONGEST_NAME, _PAGE - address % _PAGE))
    match = None if text is None else _SYMBOL_NAME.match(text)
    if text is not None and match is None:
        # It goes on in the next page.
        text = read(address, _LONGEST_NAME)
        match = None if text is None else _SYMBOL_NAME.match(text)
    if match is None or match[1].startswith(b".L"):
        return None
    return match[1].decode("ascii")


def _next(read: Read, links: int) -> int | None:
    data = read(links, _LINKS.size)
    following = 0 if data is None else _LINKS.unpack(data)[0]
    return following if following >= KERNEL_HALF and not following & 7 else None


def _piece(read: Read, address: int, length: int) -> tuple[int, int, bytes | None]:
    return address, length, read(address, length)
