"""Second-level address spaces of a hypervisor that runs in the partition, and their translation.

The partition's processors have no virtualization instructions, so nobody but Python code runs a
nested guest: it registers an address space and translates addresses as the hardware would. What
was translated is remembered for each processor until a flush names it (TLFS, nested
virtualization; HvCallFlushGuestPhysicalAddressSpace, HvCallFlushGuestPhysicalAddressList).
"""

from collections.abc import Iterable
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

from hypercall.errors import GuestMemoryError, InputError
from hypercall.partition.memory import GuestMemory
from hypercall.partition.nested_formats import (
    ADDRESS,
    ALL_ACCESS,
    EntryFormat,
    EptFormat,
    NestedAccess,
    NestedFormat,
    NptFormat,
)

_FORMATS: MappingProxyType[NestedFormat, EntryFormat] = MappingProxyType(
    {NestedFormat.EPT: EptFormat(), NestedFormat.NPT: NptFormat()}
)
_LEVELS = (0, 1, 2)
"""The levels that can map a page: 4 KiB, 2 MiB, 1 GiB."""
_GPA_BITS = 48


class NestedFaultKind(Enum):
    """Why an address has no translation."""

    VIOLATION = auto()
    """An entry is not present, or does not allow the access."""
    MISCONFIGURATION = auto()
    """An entry has reserved bits or a combination that means nothing."""
    TABLE_INACCESSIBLE = auto()
    """A table lies where there is no memory, or where the VTL may not read or set its bits."""


class NestedFault(Exception):  # noqa: N818
    """An access of a nested guest that its second-level tables do not allow.

    Attributes:
        kind: why.
        gpa: the nested guest's physical address.
        access: what was to be done.
        level: the level of the entry at fault, 3 for the root table down to 0.
    """

    def __init__(self, kind: NestedFaultKind, gpa: int, access: NestedAccess, level: int) -> None:
        super().__init__(f"{kind.name.lower()} at nested address {gpa:#x}, level {level}")
        self.kind = kind
        self.gpa = gpa
        self.access = access
        self.level = level


class Translation(NamedTuple):
    """One page's translation.

    Attributes:
        base: the physical address of the page in the partition.
        access: what may be done with it.
        dirty: whether a write needs no further bit in the tables.
    """

    base: int
    access: NestedAccess
    dirty: bool


class NestedSpace:
    """One second-level address space.

    Attributes:
        root: the EPT pointer or nCR3 as it was registered.
        format: the format of its tables.
        vtl: the VTL whose memory the tables lie in.
    """

    __slots__ = ("_cached", "_format", "format", "root", "vtl")

    def __init__(self, root: int, format: NestedFormat, vtl: int) -> None:
        self.root = root
        self.format = format
        self.vtl = vtl
        self._format = _FORMATS[format]
        # By VP index, and in it by level: the translations by page number of that size.
        self._cached: dict[int, tuple[dict[int, Translation], ...]] = {}

    def cached(self, vp_index: int) -> list[tuple[int, int]]:
        """Return (first address, size) of every page remembered for a VP, in ascending order."""
        levels = self._cached.get(vp_index, ())
        return sorted(
            (number << 12 + 9 * level, 1 << 12 + 9 * level)
            for level, pages in enumerate(levels)
            for number in pages
        )

    def flush(self) -> None:
        """Forget everything, for every VP."""
        self._cached.clear()

    def flush_pages(self, first: int, count: int) -> None:
        """Forget the pages of every size that overlap a run of 4096-byte pages, for every VP."""
        last = first + count - 1
        for levels in self._cached.values():
            for level, pages in enumerate(levels):
                low, high = first >> 9 * level, last >> 9 * level
                if high - low < len(pages):
                    for number in range(low, high + 1):
                        pages.pop(number, None)
                else:
                    for number in [number for number in pages if low <= number <= high]:
                        del pages[number]

    def translate(self, memory: GuestMemory, gpa: int, access: NestedAccess, vp_index: int) -> int:
        """Translate an address; see `NestedTranslation.translate`."""
        levels = self._cached.setdefault(vp_index, ({}, {}, {}))
        for level in _LEVELS:
            shift = 12 + 9 * level
            found = levels[level].get(gpa >> shift)
            # What a remembered translation does not allow is looked up anew: a fault of the
            # hardware forgets the translation that caused it.
            if (
                found is not None
                and access & found.access == access
                and (found.dirty or not access & NestedAccess.WRITE)
            ):
                return found.base | gpa & (1 << shift) - 1
        level, found = self._walk(memory, gpa, access)
        shift = 12 + 9 * level
        levels[level][gpa >> shift] = found
        return found.base | gpa & (1 << shift) - 1

    def _walk(self, memory: GuestMemory, gpa: int, access: NestedAccess) -> tuple[int, Translation]:
        entries = self._format
        allowed = ALL_ACCESS
        tracks = entries.tracks_use(self.root)
        table = self.root & ADDRESS
        used: list[tuple[int, int, int]] = []
        value = wanted = dirty_bits = 0
        for level in (3, 2, 1, 0):
            slot = table + (gpa >> 12 + 9 * level & 0x1FF) * 8
            try:
                value = memory.read_u64(slot, self.vtl)
            except GuestMemoryError:
                kind = NestedFaultKind.TABLE_INACCESSIBLE
                raise NestedFault(kind, gpa, access, level) from None
            if not entries.present(value):
                raise NestedFault(NestedFaultKind.VIOLATION, gpa, access, level)
            entry = entries.read(value, level, memory.address_bits)
            if entry is None:
                raise NestedFault(NestedFaultKind.MISCONFIGURATION, gpa, access, level)
            allowed &= entry.access
            wanted, dirty_bits = entry.accessed, entry.dirty
            if entry.leaf and access & NestedAccess.WRITE:
                wanted |= entry.dirty
            used.append((slot, value, wanted))
            if entry.leaf:
                break
            table = value & ADDRESS
        if access & allowed != access:
            raise NestedFault(NestedFaultKind.VIOLATION, gpa, access, level)
        if tracks:
            for slot, before, wanted in used:
                if before & wanted != wanted:
                    self._mark(memory, slot, before | wanted, gpa, access)
        dirty = not tracks or bool((value | wanted) & dirty_bits)
        size = 1 << 12 + 9 * level
        return level, Translation(value & ADDRESS & ~(size - 1), allowed, dirty)

    def _mark(
        self, memory: GuestMemory, slot: int, value: int, gpa: int, access: NestedAccess
    ) -> None:
        try:
            memory.write_u64(slot, value, self.vtl)
        except GuestMemoryError:
            kind = NestedFaultKind.TABLE_INACCESSIBLE
            raise NestedFault(kind, gpa, access, 0) from None


class NestedTranslation:
    """The second-level address spaces that a partition's hypervisor uses.

    Args:
        memory: the partition's memory, in which the tables lie.
    """

    def __init__(self, memory: GuestMemory) -> None:
        self._memory = memory
        self._spaces: dict[int, NestedSpace] = {}
        self._running: dict[tuple[int, int], int] = {}

    @property
    def spaces(self) -> tuple[NestedSpace, ...]:
        """The registered address spaces, the oldest first."""
        return tuple(self._spaces.values())

    def register(self, root: int, format: NestedFormat, vtl: int = 0) -> NestedSpace:
        """Make an address space known, in place of one with the same root table.

        Args:
            root: the EPT pointer or nCR3.
            format: the format of its tables.
            vtl: the VTL in whose memory they lie.

        Raises:
            InputError: the value cannot be a root of that format.
        """
        if not _FORMATS[format].root_valid(root, self._memory.address_bits):
            raise InputError(
                f"{root:#x} is no root of {format.name} tables: give the physical address of the "
                "root table, for EPT with memory type 0 or 6 and a walk of four levels (0x1e)"
            )
        space = NestedSpace(root, format, vtl)
        self._spaces[root & ADDRESS] = space
        return space

    def forget(self, root: int) -> None:
        """Remove an address space; one that is not known is none to remove."""
        self._spaces.pop(root & ADDRESS, None)
        for place in [
            place for place, each in self._running.items() if not (each ^ root) & ADDRESS
        ]:
            del self._running[place]

    def run(self, root: int, *, vp_index: int = 0, vtl: int = 0) -> None:
        """Say that a processor runs a nested guest of an address space from now on.

        What its page tables give are that guest's physical addresses then, for whoever translates
        them (`hypercall.partition.gva_translation`). The code that it executes does not notice.

        Raises:
            InputError: no such address space is registered.
        """
        if self.find(root) is None:
            raise _unknown(root)
        self._running[vp_index, vtl] = root

    def stop(self, *, vp_index: int = 0, vtl: int = 0) -> None:
        """Say that a processor runs no nested guest any more."""
        self._running.pop((vp_index, vtl), None)

    def running(self, vp_index: int, vtl: int) -> int | None:
        """Return the root of the nested guest that a processor runs in a VTL, or None."""
        return self._running.get((vp_index, vtl)) if self._running else None

    def find(self, root: int) -> NestedSpace | None:
        """Return the address space of a root; its bits 11:0 do not count."""
        return self._spaces.get(root & ADDRESS)

    def translate(
        self,
        root: int,
        gpa: int,
        access: NestedAccess = NestedAccess.READ,
        *,
        vp_index: int = 0,
    ) -> int:
        """Translate a physical address of a nested guest, as a processor that runs it would.

        Args:
            root: the EPT pointer or nCR3 of its address space.
            gpa: the nested guest's physical address, of at most 48 bits.
            access: what is done with it.
            vp_index: the processor; each remembers its own translations.

        Returns:
            The guest-physical address in the partition.

        Raises:
            NestedFault: the tables do not allow the access.
            InputError: no such address space is registered, or the address is too long.
        """
        space = self.find(root)
        if space is None:
            raise _unknown(root)
        if gpa >> _GPA_BITS:
            raise InputError(f"{gpa:#x} is no address of four levels: give one below 2**48")
        return space.translate(self._memory, gpa, access, vp_index)

    def flush_space(self, root: int) -> None:
        """Forget all translations of an address space, on all processors."""
        space = self.find(root)
        if space is not None:
            space.flush()

    def flush_ranges(self, root: int, ranges: Iterable[tuple[int, int]]) -> None:
        """Forget the translations of runs of pages, on all processors.

        Args:
            root: the address space; one that is not known has no translations.
            ranges: (number of the first 4096-byte page, number of pages).
        """
        space = self.find(root)
        if space is not None:
            for first, count in ranges:
                space.flush_pages(first, count)

    def reset(self) -> None:
        """Forget every address space."""
        self._spaces.clear()
        self._running.clear()


def _unknown(root: int) -> InputError:
    return InputError(f"no second-level address space has the root {root:#x}: register it first")
