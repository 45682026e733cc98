"""Durations counted in classes, so that a distribution of any size takes little room."""

from __future__ import annotations

_EXACT_BITS = 5
"""Durations are exact below 2**5 ns; above, a class is at most 1/16 of its durations wide."""


class Durations:
    """A distribution of durations in nanoseconds.

    Attributes:
        count: how many.
        total: their sum.
        least: the shortest, 0 if there is none.
        most: the longest, 0 if there is none.
    """

    __slots__ = ("_classes", "count", "least", "most", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0
        self._classes: dict[int, int] = {}

    def add(self, duration: int) -> None:
        """Count a duration; one below 0, which only a damaged trace has, counts as 0."""
        duration = max(0, duration)
        if not self.count or duration < self.least:
            self.least = duration
        self.most = max(self.most, duration)
        self.count += 1
        self.total += duration
        shift = max(0, duration.bit_length() - _EXACT_BITS)
        key = duration >> shift << shift
        self._classes[key] = self._classes.get(key, 0) + 1

    @property
    def mean(self) -> float:
        """The mean; 0 if there is none."""
        return self.total / self.count if self.count else 0.0

    def below(self, share: float) -> int:
        """Return a duration that a share of them does not exceed, to about 6 %.

        Args:
            share: above 0 and at most 1; 0.5 gives the median.
        """
        wanted = share * self.count
        seen = 0
        for key in sorted(self._classes):
            seen += self._classes[key]
            if seen >= wanted:
                return max(key, self.least)
        return self.most
