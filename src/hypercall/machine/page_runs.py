"""Runs of pages in a map that has a byte for each page."""

from collections.abc import Iterator

_AS_BITS = bytes([0]) + bytes([1]) * 255


def page_runs(
    marks: bytes | bytearray, *, marked: bool, first: int = 0, last: int | None = None
) -> Iterator[tuple[int, int]]:
    """Find the runs of pages that are marked, or that are not.

    Args:
        marks: a byte for each page; it is marked if that is not zero.
        marked: which ones are wanted.
        first: where to begin.
        last: the page before which to end; None for the end of the map.

    Yields:
        The first page of a run, and the number of its pages.
    """
    bits = marks.translate(_AS_BITS)
    end = len(bits) if last is None else last
    start = bits.find(marked, first, end)
    while start >= 0:
        behind = bits.find(not marked, start, end)
        if behind < 0:
            behind = end
        yield start, behind - start
        start = bits.find(marked, behind, end)
