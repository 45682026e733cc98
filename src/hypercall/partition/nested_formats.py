"""The two formats of a nested hypervisor's second-level tables, level by level.

Sources: Intel SDM volume 3, EPT (tables "Format of ..."); AMD APM volume 2, Nested Paging.
"""

from enum import Enum, IntFlag, auto
from typing import NamedTuple, Protocol

ADDRESS = 0x000F_FFFF_FFFF_F000
"""Bits 51:12 of roots and entries."""


class NestedFormat(Enum):
    """Whose tables they are."""

    EPT = auto()
    """Intel's; a root is an EPT pointer."""
    NPT = auto()
    """AMD's; a root is an nCR3."""


class NestedAccess(IntFlag):
    """What is done with a guest-physical address of the nested guest, or may be."""

    READ = 1
    WRITE = 2
    EXECUTE = 4


ALL_ACCESS = NestedAccess.READ | NestedAccess.WRITE | NestedAccess.EXECUTE


class Entry(NamedTuple):
    """What an entry says.

    Attributes:
        leaf: whether it maps a page rather than naming a table.
        access: what it allows.
        accessed: the bits to set when it is used.
        dirty: the bits to set when its page is written.
    """

    leaf: bool
    access: NestedAccess
    accessed: int
    dirty: int


class EntryFormat(Protocol):
    """How the entries of a format are read."""

    def root_valid(self, root: int, address_bits: int) -> bool:
        """Return whether a value can be a root."""

    def tracks_use(self, root: int) -> bool:
        """Return whether accessed and dirty bits are set."""

    def present(self, entry: int) -> bool:
        """Return whether the entry maps or names anything."""

    def read(self, entry: int, level: int, address_bits: int) -> Entry | None:
        """Read an entry that is present.

        Args:
            entry: 64 bits.
            level: 3 for the root table's entries, down to 0 for pages of 4096 bytes.
            address_bits: the width of a physical address.

        Returns:
            What it says, or None for a misconfigured one.
        """


def _beyond(address_bits: int) -> int:
    """Return the bits of an address field that no physical address has."""
    return ADDRESS & ~((1 << address_bits) - 1)


def _offset_bits(level: int) -> int:
    """Return the bits of an address field that lie within a page of a level."""
    return (1 << 12 + 9 * level) - (1 << 12)


class EptFormat:
    """Intel's extended page tables with a walk of four levels."""

    _WRITE_BACK_OR_UNCACHED = (0, 6)
    _MEMORY_TYPES = (0, 1, 4, 5, 6)

    def root_valid(self, root: int, address_bits: int) -> bool:
        """Return whether a value can be an EPT pointer."""
        return (
            root & 7 in self._WRITE_BACK_OR_UNCACHED
            and root >> 3 & 7 == 3
            and not root & 0xF80
            and not root >> address_bits
        )

    def tracks_use(self, root: int) -> bool:
        """Return whether accessed and dirty bits are set: bit 6 of the pointer."""
        return bool(root & 1 << 6)

    def present(self, entry: int) -> bool:
        """Return whether any access is allowed."""
        return bool(entry & 7)

    def read(self, entry: int, level: int, address_bits: int) -> Entry | None:
        """Read an entry; see `EntryFormat`."""
        if entry & 3 == 2 or entry & _beyond(address_bits):
            return None
        leaf = level == 0 or bool(entry & 1 << 7 and level < 3)
        if leaf:
            if entry >> 3 & 7 not in self._MEMORY_TYPES:
                return None
            if entry & _offset_bits(level):
                return None
        elif entry & 0xF8:
            return None
        return Entry(leaf, NestedAccess(entry & 7), 1 << 8, 1 << 9)


class NptFormat:
    """AMD's nested page tables: long-mode tables walked as user accesses."""

    _PRESENT, _WRITE, _USER, _ACCESSED, _DIRTY, _LARGE = (1 << bit for bit in (0, 1, 2, 5, 6, 7))
    _LARGE_PAT = 1 << 12
    _NO_EXECUTE = 1 << 63

    def root_valid(self, root: int, address_bits: int) -> bool:
        """Return whether a value can be an nCR3."""
        return not root >> address_bits

    def tracks_use(self, root: int) -> bool:
        """Return that accessed and dirty bits are always set."""
        return True

    def present(self, entry: int) -> bool:
        """Return the present bit."""
        return bool(entry & self._PRESENT)

    def read(self, entry: int, level: int, address_bits: int) -> Entry | None:
        """Read an entry; see `EntryFormat`."""
        if entry & _beyond(address_bits) or (level == 3 and entry & self._LARGE):
            return None
        leaf = level == 0 or bool(entry & self._LARGE)
        if leaf and entry & _offset_bits(level) & ~self._LARGE_PAT:
            return None
        access = NestedAccess(0)
        if entry & self._USER:
            access = NestedAccess.READ
            if entry & self._WRITE:
                access |= NestedAccess.WRITE
            if not entry & self._NO_EXECUTE:
                access |= NestedAccess.EXECUTE
        return Entry(leaf, access, self._ACCESSED, self._DIRTY)
