"""Ranges of guest virtual and guest physical pages as lists of 8-byte elements.

Sources: TLFS ``hypercalls/HvCallFlushVirtualAddressList`` for the simple form; the headers for the
extended form and for HV_GPA_PAGE_RANGE.
"""

from struct import unpack

from hypercall.tlfs.layout import Buffer

_LARGE = 1 << 11
_GIGABYTE = 1 << 12
_PAGES_2M = 512
_PAGES_1G = 512 * 512
_PAGE = ~0xFFF & 0xFFFF_FFFF_FFFF_FFFF
_LARGE_PAGE = ~0x1F_FFFF & 0xFFFF_FFFF_FFFF_FFFF


def ranges(buffer: Buffer, extended: bool = False) -> list[tuple[int, int]]:
    """Read a list of HV_GVA_RANGE.

    Args:
        buffer: elements of 8 bytes.
        extended: the flag USE_EXTENDED_RANGE_FORMAT is set: bit 11 means large pages.

    Returns:
        For each element the first GVA and the number of 4 KiB pages. GVAs are not checked: one
        that is not canonical stands for nothing and is ignored by the flush.
    """
    values = unpack(f"<{len(buffer) // 8}Q", buffer)
    if extended:
        return [_extended(value) for value in values]
    return [(value & _PAGE, (value & 0xFFF) + 1) for value in values]


def gpa_ranges(buffer: Buffer) -> list[tuple[int, int]]:
    """Read a list of HV_GPA_PAGE_RANGE, whose form is the extended one.

    Returns:
        For each element the first GPA and the number of 4 KiB pages.
    """
    return [_extended(value) for value in unpack(f"<{len(buffer) // 8}Q", buffer)]


def _extended(value: int) -> tuple[int, int]:
    pages = (value & 0x7FF) + 1
    if not value & _LARGE:
        return value & _PAGE, pages
    if value & _GIGABYTE:
        return value & _LARGE_PAGE, pages * _PAGES_1G
    return value & _LARGE_PAGE, pages * _PAGES_2M


def range_text(value: int, extended: bool) -> str:
    """Write one element as first address and pages, for example ``0x7f0000001000+3 pages``."""
    address, pages = _extended(value) if extended else (value & _PAGE, (value & 0xFFF) + 1)
    return f"{address:#x}+{pages} page{'s' if pages != 1 else ''}"
