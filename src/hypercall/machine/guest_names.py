"""The names of a guest's functions: those of its image, of its kernel, and of Linux's modules."""

from collections.abc import Callable
from typing import ClassVar

from hypercall.trace.linux_modules import (
    MODULES,
    Evidence,
    Read,
    find_in_modules,
    functions_of,
    holds,
    list_modules,
)
from hypercall.trace.symbols import KERNEL_HALF, LazySymbols, SymbolTable

_MODULE_AREA = range(0xFFFF_FFFF_A000_0000, 0xFFFF_FFFF_FF00_0000)
"""Where Linux has its modules, in whichever configuration."""
_MOST_NOTED = 4096
_MOST_HEADS = 8
_WORK_AT_ONCE = 500_000
"""How much may be done for searches at any time, see ``linux_modules.MOST_WORK``."""
_WORK_PER_SECOND = 5_000
"""How much more in each second of virtual time: about a hundredth of the host's time."""
_MOST_SYMBOLS = 1_000_000


class GuestNames:
    """Names of guest-virtual addresses.

    Modules come and go, and so does the code that initializes them. So the place of a call gets
    its name when the call is made, by what is in memory at that moment, and keeps it until there
    is another call from it. Between calls nothing has to be watched.

    Args:
        find_table: finds the names of the image or kernel; None while there are none. It gets the
            first place in the guest that a call came from.
        read: reads memory by the kernel's page tables.
        now: the virtual time in nanoseconds.
    """

    # How much was looked for users is theirs, and which heads a table has is always the same.
    not_state: ClassVar[tuple[str, ...]] = ("_asked", "_find_table", "_heads", "_now", "_read")

    def __init__(
        self,
        find_table: Callable[[int | None], SymbolTable | None],
        read: Read,
        now: Callable[[], int],
    ) -> None:
        self._find_table = find_table
        self._read = read
        self._now = now
        self._image = LazySymbols(self._find)
        self._first_place: int | None = None
        self._heads: tuple[SymbolTable, list[int]] | None = None
        # Plain values, since a file holds them too.
        self._noted: dict[int, tuple[str | None, Evidence]] = {}
        self._work = 0
        self._asked = 0

    def note(self, place: int) -> None:
        """Name the place that a call is made from, now.

        Args:
            place: the guest-virtual address behind the call.
        """
        if self._first_place is None:
            self._first_place = place
        if place not in _MODULE_AREA:
            return
        noted = self._noted.get(place)
        if noted is not None and holds(self._read, noted[1]):
            return
        table = self._image.known
        if table is None:
            self._image.lookup(place)
            table = self._image.known
        if table is not None and table.covers(place):
            return
        if table is None or self._work > self._allowance():
            self._noted.pop(place, None)
            return
        found = find_in_modules(self._read, self._list_heads(table), place)
        self._work += found.work
        text = None if found.place is None else str(found.place)
        if noted is None and len(self._noted) >= _MOST_NOTED:
            del self._noted[next(iter(self._noted))]
        self._noted[place] = text, found.evidence

    def lookup(self, address: int) -> str | None:
        """Return ``name+0x1a`` or ``name+0x1a [module]`` for a guest-virtual address, or None.

        The place of a call has the name that it had when the last call was made from it.
        """
        name = self._image.lookup(address)
        if name is not None or address not in _MODULE_AREA:
            return name
        noted = self._noted.get(address)
        if noted is not None:
            return noted[0]
        table = self._image.known
        if table is None or self._asked > self._allowance():
            return None
        found = find_in_modules(self._read, self._list_heads(table), address)
        self._asked += found.work
        return None if found.place is None else str(found.place)

    def table(self) -> SymbolTable | None:
        """Return the names of the image or kernel, or None if there are none (yet)."""
        return self._image.table()

    def modules(self) -> list[tuple[str, SymbolTable]]:
        """Return each of Linux's modules, with its functions."""
        table = self._image.table()
        found = []
        left = _MOST_SYMBOLS
        for head in [] if table is None else self._list_heads(table):
            for module in list_modules(self._read, head):
                functions = functions_of(self._read, module)[:left]
                left -= len(functions)
                found.append((module.name, SymbolTable.from_pairs(functions)))
        return found

    def _allowance(self) -> int:
        return _WORK_AT_ONCE + self._now() * _WORK_PER_SECOND // 1_000_000_000

    def _find(self) -> SymbolTable | None:
        return self._find_table(self._first_place)

    def _list_heads(self, table: SymbolTable) -> list[int]:
        if self._heads is None or self._heads[0] is not table:
            heads = [head for head in table.addresses_of(MODULES) if head >= KERNEL_HALF]
            self._heads = table, heads[:_MOST_HEADS]
        return self._heads[1]
