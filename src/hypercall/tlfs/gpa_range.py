"""HV_GPA_PAGE_RANGE: runs of guest-physical pages, in 8 bytes each.

Sources: ``include/hyperv/hvhdk_mini.h`` of Linux, whose form is a superset of the documentation's
up to 2048 pages: bits 10:0 additional pages, 11 large pages, then either 63:12 the first page, or
12 size (0 2 MiB, 1 1 GiB), 20:13 reserved and 63:21 the first large page in units of 2 MiB.
"""

from collections.abc import Sequence
from struct import unpack
from typing import NamedTuple

_ADDITIONAL = 0x7FF
_LARGE = 1 << 11
_SIZE_1G = 1 << 12
_LARGE_RESERVED = 0x1FE000
_LARGE_BASE_SHIFT = 21
_PAGES_2M = 512
_PAGES_1G = 512 * 512


class GpaRange(NamedTuple):
    """A run of guest-physical pages of 4096 bytes.

    Attributes:
        first: the number of the first page.
        page_count: how many pages.
        large: whether it was given in large pages.
    """

    first: int
    page_count: int
    large: bool


def gpa_range(element: int) -> GpaRange | None:
    """Read one element.

    Returns:
        The run, or None where reserved bits are set or the run does not begin at a page of its
        own size.
    """
    additional = element & _ADDITIONAL
    if not element & _LARGE:
        return GpaRange(element >> 12, additional + 1, False)
    if element & _LARGE_RESERVED:
        return None
    size = _PAGES_1G if element & _SIZE_1G else _PAGES_2M
    first = (element >> _LARGE_BASE_SHIFT) * _PAGES_2M
    if first % size:
        return None
    return GpaRange(first, (additional + 1) * size, True)


def gpa_ranges(elements: bytes | memoryview) -> Sequence[GpaRange | None]:
    """Read all elements of a list; as `gpa_range`."""
    return [gpa_range(element) for element in unpack(f"<{len(elements) // 8}Q", elements)]
