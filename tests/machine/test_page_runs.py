from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.machine.page_runs import page_runs


@pytest.mark.parametrize(
    ("marks", "marked", "runs"),
    [
        (b"", True, []),
        (b"\0\0", True, []),
        (b"\0\0", False, [(0, 2)]),
        (b"\2\1\0\xff\0\0", True, [(0, 2), (3, 1)]),
        (b"\2\1\0\xff\0\0", False, [(2, 1), (4, 2)]),
    ],
)
def test_runs(marks: bytes, marked: bool, runs: list[tuple[int, int]]) -> None:
    assert list(page_runs(marks, marked=marked)) == runs


@given(st.binary(max_size=40), st.booleans(), st.integers(0, 40), st.integers(0, 40))
def test_every_page_within_the_bounds_is_in_one(
    marks: bytes, marked: bool, first: int, last: int
) -> None:
    last = min(last, len(marks))
    runs = list(page_runs(marks, marked=marked, first=first, last=last))
    pages = [page for start, count in runs for page in range(start, start + count)]
    assert pages == [page for page in range(first, last) if bool(marks[page]) == marked]
    # No run could be longer.
    assert all(start + count < other for (start, count), (other, _) in pairwise(runs))
