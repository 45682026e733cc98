"""Which events of a long run a page shows one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

_Row = TypeVar("_Row")


class KeptRows(Generic[_Row]):
    """Keeps the first rows, the last ones, and of those between the notable ones.

    Args:
        most: how many to keep; a tenth of the room is for notable ones.

    Attributes:
        total: how many rows there were.
    """

    def __init__(self, most: int) -> None:
        self.total = 0
        notable = most // 10
        self._first: list[tuple[int, _Row]] = []
        self._most_first = (most - notable + 1) // 2
        self._last: deque[tuple[int, _Row]] = deque()
        self._most_last = most - notable - self._most_first
        self._notable: list[tuple[int, _Row]] = []
        self._most_notable = notable
        self._notable_numbers: set[int] = set()

    def add(self, row: _Row, *, notable: bool) -> None:
        """Keep a row for now."""
        number = self.total
        self.total += 1
        if len(self._first) < self._most_first:
            self._first.append((number, row))
            return
        self._last.append((number, row))
        if notable:
            self._notable_numbers.add(number)
        if len(self._last) > self._most_last:
            old = self._last.popleft()
            if old[0] in self._notable_numbers:
                self._notable_numbers.discard(old[0])
                if len(self._notable) < self._most_notable:
                    self._notable.append(old)

    def __len__(self) -> int:
        return len(self._first) + len(self._notable) + len(self._last)

    def __iter__(self) -> Iterator[tuple[int, _Row]]:
        """Return number and row of each that is kept, in their order."""
        yield from self._first
        yield from self._notable
        yield from self._last
