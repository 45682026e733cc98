"""The walk of a guest's paging structures by the hypervisor (Intel SDM, volume 3, paging).

The processor walks them by itself while it executes code; this walk is for those who ask what it
would find. Both take the same entries for reserved.
"""

from collections.abc import Callable
from typing import NamedTuple

from hypercall.partition.register_rules import (
    CR0_PAGING,
    CR4_PAE,
    EFER_LONG_MODE_ACTIVE,
    EFER_NO_EXECUTE,
    canonical,
)
from hypercall.tlfs.call_flags import TranslateGvaResultCode

CR4_PAGE_SIZE_EXTENSIONS = 1 << 4

_PRESENT, _WRITE, _USER, _ACCESSED, _DIRTY, _LARGE = (1 << bit for bit in (0, 1, 2, 5, 6, 7))
_WRITE_THROUGH = 1 << 3
_CACHE_DISABLE = 1 << 4
_PAT_SMALL, _PAT_LARGE = 1 << 7, 1 << 12
_NO_EXECUTE = 1 << 63
_ADDRESS = 0x000F_FFFF_FFFF_F000
_PDPTE_RESERVED = 0x7FF0_0000_0000_01E6
_LARGE_4M_RESERVED = 1 << 21

ReadEntry = Callable[[int, int], int]
"""``read(gpa, size)`` gives an entry of 4 or 8 bytes, or raises `WalkFault`."""


class WalkFault(Exception):  # noqa: N818
    """A walk that ends without an address.

    Attributes:
        code: why.
    """

    def __init__(self, code: TranslateGvaResultCode) -> None:
        super().__init__(code.name)
        self.code = code


class PagingRegisters(NamedTuple):
    """The registers that decide about paging, and the width of a physical address."""

    cr0: int
    cr3: int
    cr4: int
    efer: int
    address_bits: int


class UsedEntry(NamedTuple):
    """An entry that the walk went through.

    Attributes:
        gpa: where it lies.
        size: 4 or 8 bytes.
        value: its value.
        leaf: it maps the page.
    """

    gpa: int
    size: int
    value: int
    leaf: bool

    def marked(self, *, written: bool) -> int:
        """Return the value with the bits set that an access sets."""
        return self.value | _ACCESSED | (_DIRTY if self.leaf and written else 0)


class PageWalk(NamedTuple):
    """What a walk found.

    Attributes:
        address: the physical address.
        user, writable, executable: what the entries together allow: user code to come here, writes,
            and fetches.
        pat_index: the entry of IA32_PAT, or None without paging.
        used: the entries that have accessed bits, the root's first.
    """

    address: int
    user: bool
    writable: bool
    executable: bool
    pat_index: int | None
    used: tuple[UsedEntry, ...]


def walk(registers: PagingRegisters, address: int, read: ReadEntry) -> PageWalk:
    """Walk the paging structures for an address; nothing is written.

    Args:
        registers: those of the VTL of the virtual processor whose tables they are.
        address: the virtual address, 64 bits.
        read: reads an entry.

    Raises:
        WalkFault: PAGE_NOT_PRESENT (also for an address that the mode does not have),
            INVALID_PAGE_TABLE_FLAGS for reserved bits, or what `read` raises.
    """
    long_mode = bool(registers.efer & EFER_LONG_MODE_ACTIVE)
    if not (canonical(address) if long_mode else not address >> 32):
        raise WalkFault(TranslateGvaResultCode.PAGE_NOT_PRESENT)
    if not registers.cr0 & CR0_PAGING:
        return PageWalk(address, True, True, True, None, ())
    if not registers.cr4 & CR4_PAE:
        return _walk_32_bit(registers, address, read)
    if long_mode:
        return _walk_64_bit(registers, address, registers.cr3 & _ADDRESS, 3, read)
    entry = _present(read((registers.cr3 & 0xFFFF_FFE0) + (address >> 27 & 0x18), 8))
    _check(not entry & (_PDPTE_RESERVED | _reserved(registers)))
    return _walk_64_bit(registers, address, entry & _ADDRESS, 1, read)


def _walk_64_bit(
    registers: PagingRegisters, address: int, table: int, level: int, read: ReadEntry
) -> PageWalk:
    """Walk tables of 512 entries, from the given level (0 maps pages of 4 KiB) down."""
    reserved = _reserved(registers)
    rights = _USER | _WRITE
    executable = True
    used = []
    while True:
        shift = 12 + 9 * level
        gpa = table + (address >> shift & 0x1FF) * 8
        entry = _present(read(gpa, 8))
        _check(not entry & reserved and not (level == 3 and entry & _LARGE))
        rights &= entry
        executable = executable and not entry & _NO_EXECUTE
        leaf = not level or bool(entry & _LARGE)
        used.append(UsedEntry(gpa, 8, entry, leaf))
        if leaf:
            break
        table = entry & _ADDRESS
        level -= 1
    offset = (1 << shift) - 1
    if level:
        _check(not entry & _ADDRESS & offset & ~_PAT_LARGE)
    found = entry & _ADDRESS & ~offset | address & offset
    pat_index = _pat_index(entry, _PAT_LARGE if level else _PAT_SMALL)
    return PageWalk(
        found, bool(rights & _USER), bool(rights & _WRITE), executable, pat_index, tuple(used)
    )


def _walk_32_bit(registers: PagingRegisters, address: int, read: ReadEntry) -> PageWalk:
    """Walk the two levels of tables that have entries of 4 bytes."""
    gpa = (registers.cr3 & 0xFFFF_F000) + (address >> 20 & 0xFFC)
    entry = _present(read(gpa, 4))
    if entry & _LARGE and registers.cr4 & CR4_PAGE_SIZE_EXTENSIONS:
        _check(not entry & _LARGE_4M_RESERVED)
        found = entry & 0xFFC0_0000 | (entry & 0x1F_E000) << 19 | address & 0x3F_FFFF
        used = [UsedEntry(gpa, 4, entry, True)]
        rights, pat_bit = entry, _PAT_LARGE
    else:
        used = [UsedEntry(gpa, 4, entry, False)]
        rights, pat_bit = entry, _PAT_SMALL
        gpa = (entry & 0xFFFF_F000) + (address >> 10 & 0xFFC)
        entry = _present(read(gpa, 4))
        used.append(UsedEntry(gpa, 4, entry, True))
        rights &= entry
        found = entry & 0xFFFF_F000 | address & 0xFFF
    return PageWalk(
        found,
        bool(rights & _USER),
        bool(rights & _WRITE),
        True,
        _pat_index(entry, pat_bit),
        tuple(used),
    )


def _reserved(registers: PagingRegisters) -> int:
    """Return the bits that no entry of 8 bytes may have."""
    beyond = _ADDRESS & ~((1 << registers.address_bits) - 1)
    return beyond if registers.efer & EFER_NO_EXECUTE else beyond | _NO_EXECUTE


def _pat_index(entry: int, pat_bit: int) -> int:
    return (
        (4 if entry & pat_bit else 0)
        | (2 if entry & _CACHE_DISABLE else 0)
        | (1 if entry & _WRITE_THROUGH else 0)
    )


def _present(entry: int) -> int:
    if not entry & _PRESENT:
        raise WalkFault(TranslateGvaResultCode.PAGE_NOT_PRESENT)
    return entry


def _check(valid: bool) -> None:
    if not valid:
        raise WalkFault(TranslateGvaResultCode.INVALID_PAGE_TABLE_FLAGS)
