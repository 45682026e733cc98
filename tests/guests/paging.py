"""Paging structures that a test puts into memory before its guest runs."""

import struct

from tests.guests.layout import DATA, IDENTITY_TABLES, TABLES, WINDOW

PRESENT, WRITE, USER, ACCESSED, DIRTY, LARGE, GLOBAL = 1, 2, 4, 0x20, 0x40, 0x80, 0x100
NO_EXECUTE = 1 << 63
KERNEL_PAGE = PRESENT | WRITE
USER_PAGE = PRESENT | WRITE | USER

WINDOW_TABLE = TABLES
"""The page table of the window: entry n maps page n of it."""


def window_entry(page: int) -> int:
    """Where the entry of a page of the window lies."""
    return WINDOW_TABLE + 8 * page


def window(*entries: int) -> dict[int, bytes]:
    """Map the window with small pages, in the tables of the loader.

    Args:
        entries: those of its first pages; the others are mapped to the pages from ``DATA`` on.
    """
    rest = [(DATA + 4096 * page) | USER_PAGE for page in range(len(entries), 512)]
    return {
        IDENTITY_TABLES + 0x2000 + (WINDOW >> 21) * 8: struct.pack("<Q", WINDOW_TABLE | USER_PAGE),
        WINDOW_TABLE: struct.pack("<512Q", *entries, *rest),
    }


def page_of(byte: int) -> bytes:
    """A page full of one byte."""
    return bytes([byte]) * 4096
