"""Names for guest addresses: a sorted table, and what it can be made from.

A table comes from the symbol section of an ELF file, from a ``System.map`` like text, or, with
:mod:`hypercall.trace.kallsyms`, from what a Linux kernel carries about itself in memory.
"""

from __future__ import annotations

import io
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from hypercall.errors import InputError
from hypercall.printable import printable

KERNEL_HALF = 0xFFFF_8000_0000_0000
"""The lowest address of the half of an address space that Linux has for itself."""

_LONGEST_SHOWN = 600


class NameSequence(Protocol):
    """Names by index; a list will do, and so will something that decodes them when asked."""

    def __len__(self) -> int:
        """Return how many names there are."""

    def __getitem__(self, index: int, /) -> str:
        """Return the name at ``index``, counted from 0."""


@runtime_checkable
class SearchableNames(NameSequence, Protocol):
    """Names that find one without telling all."""

    def indexes_of(self, name: str) -> list[int]:
        """Return the indexes of all names that are equal to ``name``, in ascending order."""


class Place(NamedTuple):
    """A place in a guest as traces name it.

    Attributes:
        symbol: the name of the function.
        offset: the distance in bytes from its start.
        module: the kernel module that the function is in, or None.
    """

    symbol: str
    offset: int
    module: str | None = None

    def __str__(self) -> str:
        text = f"{self.symbol}+{self.offset:#x}" if self.offset else self.symbol
        return f"{text} [{self.module}]" if self.module else text

    @classmethod
    def parse(cls, text: str) -> Place:
        """Take ``symbol+0x1a [module]`` apart; the offset and the module may be missing.

        Raises:
            ValueError: the offset is no hexadecimal number.
        """
        place, bracket, module = text.partition(" [")
        symbol, _, offset = place.partition("+")
        return cls(symbol, int(offset or "0", 16), module.removesuffix("]") if bracket else None)


class SymbolTable:
    """Guest-virtual addresses and the names that stand for them.

    Several names may share an address; a look-up answers with the first of them.
    """

    def __init__(
        self, addresses: Sequence[int], names: NameSequence, end: int | None = None
    ) -> None:
        """Make a table.

        Args:
            addresses: guest-virtual addresses in ascending order.
            names: the name of each address, at the same index.
            end: the first address past what the last name covers; without it the last name covers
                its first byte only.

        Raises:
            ValueError: the lengths differ, or the addresses do not ascend.
        """
        if len(addresses) != len(names):
            raise ValueError(f"{len(addresses)} addresses but {len(names)} names")
        self._addresses = array("Q", addresses)
        if any(map(int.__gt__, self._addresses, self._addresses[1:])):
            raise ValueError("the addresses of a symbol table must ascend")
        self._names = names
        self._end = end if end is not None else (self._addresses[-1] + 1 if addresses else 0)
        self._by_name: dict[str, int] | None = None

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[int, str]], end: int | None = None) -> SymbolTable:
        """Make a table from (address, name) in any order; names keep their order at one address."""
        ordered = sorted(pairs, key=lambda pair: pair[0])
        return cls([pair[0] for pair in ordered], [pair[1] for pair in ordered], end)

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """Iterate over (address, name) in ascending order of the addresses."""
        for index, address in enumerate(self._addresses):
            yield address, self._names[index]

    def covers(self, address: int) -> bool:
        """Tell whether a name covers a guest-virtual address."""
        return bool(self._addresses) and self._addresses[0] <= address < self._end

    def find(self, address: int) -> tuple[str, int] | None:
        """Return the name that covers a guest-virtual address and the offset from its start."""
        if not 0 <= address < self._end:
            return None
        index = bisect_right(self._addresses, address) - 1
        if index < 0:
            return None
        start = self._addresses[index]
        while index and self._addresses[index - 1] == start:
            index -= 1
        return self._names[index], address - start

    def lookup(self, address: int) -> str | None:
        """Return ``name+0x1a`` for a guest-virtual address, or None where no name covers it."""
        found = self.find(address)
        if found is None:
            return None
        # The guest, or whoever made its image, has chosen the name.
        return printable(str(Place(*found)), _LONGEST_SHOWN)

    def addresses_of(self, name: str) -> list[int]:
        """Return the addresses of all symbols with a name, in ascending order."""
        names = self._names
        if isinstance(names, SearchableNames):
            return [self._addresses[index] for index in names.indexes_of(name)]
        return [self._addresses[index] for index in range(len(names)) if names[index] == name]

    def address_of(self, name: str) -> int | None:
        """Return the address of a name (the lowest, if several symbols share it), or None."""
        if self._by_name is None:
            by_name: dict[str, int] = {}
            for index, address in enumerate(self._addresses):
                by_name.setdefault(self._names[index], address)
            self._by_name = by_name
        return self._by_name.get(name)

    def moved(self, slide: int) -> SymbolTable:
        """Return the same table with ``slide`` (bytes, may be negative) added to every address."""
        return SymbolTable(
            [address + slide for address in self._addresses], self._names, self._end + slide
        )


def symbols_of_elf(data: bytes) -> SymbolTable:
    """Read the functions, objects and plain labels of an ELF file's symbol table.

    Args:
        data: the whole file.

    Returns:
        The table, empty for a stripped file.

    Raises:
        InputError: ``data`` is not an ELF file, or is damaged.
    """
    # Not at the top: it takes as long as a fifth of this package, and few guests bring an ELF.
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    try:
        elf = ELFFile(io.BytesIO(data))
        section = elf.get_section_by_name(".symtab")
        pairs: list[tuple[int, str]] = []
        end = 0
        if isinstance(section, SymbolTableSection):
            wanted = ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE")
            for symbol in section.iter_symbols():
                if (
                    symbol.name
                    and symbol["st_info"]["type"] in wanted
                    and isinstance(symbol["st_shndx"], int)
                ):
                    pairs.append((symbol["st_value"], symbol.name))
                    end = max(end, symbol["st_value"] + max(symbol["st_size"], 1))
            # Labels of assembly sources have no size: the last one reaches to its segment's end.
            for segment in elf.iter_segments("PT_LOAD"):
                if segment["p_vaddr"] < end <= segment["p_vaddr"] + segment["p_memsz"]:
                    end = segment["p_vaddr"] + segment["p_memsz"]
                    break
    except (ELFError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise InputError(f"the symbol table cannot be read: {error}") from error
    return SymbolTable.from_pairs(pairs, end or None)


def symbols_of_map(text: str) -> SymbolTable:
    """Read a ``System.map``: lines of address (hexadecimal), type letter and name.

    Raises:
        InputError: a line is not of that form.
    """
    pairs: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split(None, 2)
        try:
            pairs.append((int(parts[0], 16), parts[2].split()[0]))
        except (IndexError, ValueError):
            raise InputError(
                f"line {number} of the symbol map is not 'address type name': {line[:60]!r}"
            ) from None
    return SymbolTable.from_pairs(pairs)


class LazySymbols:
    """A look-up that finds its table when it is first needed.

    A kernel's own symbols are in memory only after it was unpacked, so a search may fail and be
    worth repeating. A search costs time: after each failure twice as many look-ups as before go
    by without one, and after some failures the guest is taken to have none.
    """

    def __init__(self, find: Callable[[], SymbolTable | None], attempts: int = 6) -> None:
        """Look up through the table that ``find`` returns.

        Args:
            find: returns the table, or None for 'not there yet'.
            attempts: how often to try.
        """
        self._find = find
        self._table: SymbolTable | None = None
        self._attempts = attempts
        self._pause = 1
        self._skip = 0

    @property
    def known(self) -> SymbolTable | None:
        """The table, if it was found already."""
        return self._table

    def table(self) -> SymbolTable | None:
        """Return the table, looking for it if it is not known yet; None if it is not there."""
        if self._table is None:
            self._table = self._find()
        return self._table

    def lookup(self, address: int) -> str | None:
        """Return ``name+0x1a`` for a guest-virtual address, or None where no name covers it."""
        table = self._table
        if table is None:
            if not self._attempts:
                return None
            if self._skip:
                self._skip -= 1
                return None
            table = self._table = self._find()
            if table is None:
                self._attempts -= 1
                self._pause *= 2
                self._skip = self._pause
                return None
        return table.lookup(address)
