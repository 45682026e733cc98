"""A list of modules as Linux has it in memory, built by hand."""

import struct
from collections.abc import Sequence

HEAD = 0xFFFF_FFFF_8100_4000
"""The head of the list."""
AREA = 0xFFFF_FFFF_C000_0000
"""Where the modules are."""
LIVE, COMING, GOING, UNFORMED = range(4)
CODE, DATA_SECTION, UNDEFINED_SECTION, ABSOLUTE_SECTION = 1, 4, 0, 0xFFF1
FUNCTION, OBJECT, LABEL = 2, 1, 0
_PAGE = 4096

Symbol = tuple[str, int, int] | tuple[str, int, int, int, int]
"""Name, address, size; then kind (FUNCTION) and section (CODE)."""


class KernelImage:
    """Pages of the kernel's half; what was never written is not mapped.

    Attributes:
        pages: their bytes, by address.
        reads: how often memory was read.
    """

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.reads = 0
        self._modules: list[int] = []
        self.link()

    def read(self, address: int, length: int) -> bytes | None:
        """Return memory, or None if a part of it is not mapped."""
        self.reads += 1
        parts = []
        while length > 0:
            page = self.pages.get(address & -_PAGE)
            if page is None:
                return None
            start = address % _PAGE
            parts.append(bytes(page[start : start + length]))
            address += len(parts[-1])
            length -= len(parts[-1])
        return b"".join(parts)

    def write(self, address: int, data: bytes) -> None:
        """Write memory, which is mapped from then on."""
        while data:
            page = self.pages.setdefault(address & -_PAGE, bytearray(_PAGE))
            start = address % _PAGE
            part = data[: _PAGE - start]
            page[start : start + len(part)] = part
            address += len(part)
            data = data[len(part) :]

    def word(self, address: int, value: int) -> None:
        """Write a word of 64 bits."""
        self.write(address, struct.pack("<Q", value))

    def link(self) -> None:
        """Write the links of the head and of all modules."""
        ring = [HEAD, *self._modules]
        for place, links in enumerate(ring):
            following = ring[(place + 1) % len(ring)]
            self.write(links, struct.pack("<QQ", following, ring[place - 1]))

    def add(
        self,
        name: str,
        symbols: Sequence[Symbol],
        *,
        start: int = AREA,
        initial: Sequence[Symbol] | None = None,
        state: int = LIVE,
        pointer: int = 0x170,
        tables: int | None = None,
    ) -> int:
        """Load a module; return the address of its ``struct module``.

        Args:
            name: its name.
            symbols: those that stay.
            start: the first of its pages: the structure, then its tables.
            initial: while it initializes, all of its symbols.
            state: its state.
            pointer: where in the structure the pointer to the symbols is.
            tables: where the symbols are that stay; behind the structure, if it is not said.
        """
        self.write(start, struct.pack("<I", state))
        self.write(start + 24, name.encode().ljust(56, b"\0"))
        self.write(start + pointer + 40, bytes(64))
        own = start + pointer + 8
        self.write(own, self._table(symbols, tables or start + 0x1000))
        self.word(start + pointer, own)
        if initial is not None:
            # The kernel frees it with the code that initializes.
            self.write(start + 0x8000, self._table(initial, start + 0x8000 + 0x1000))
            self.word(start + pointer, start + 0x8000)
        self._modules.insert(0, start + 8)
        self.link()
        return start

    def remove(self, start: int) -> None:
        """Unload a module; its pages stay."""
        self._modules.remove(start + 8)
        self.link()

    def end_of_initialization(self, start: int, pointer: int = 0x170) -> None:
        """Free what was there to initialize a module."""
        self.word(start + pointer, start + pointer + 8)
        for page in [page for page in self.pages if start + 0x8000 <= page < start + 0x10000]:
            del self.pages[page]

    def _table(self, symbols: Sequence[Symbol], address: int) -> bytes:
        """Write a symbol table and its names; return what leads to them."""
        table, names = bytes(24), b"\0"
        for name, value, size, *rest in symbols:
            kind, section = rest or (FUNCTION, CODE)
            table += struct.pack("<IBBHQQ", len(names), kind, 0, section, value, size)
            names += name.encode() + b"\0"
        self.write(address, table)
        at = address + len(table)
        self.write(at, names)
        return struct.pack("<QQQQ", address, len(table) // 24, at, at)
