"""Whose turn it is: which virtual processor runs next, and for how long."""

import random
from collections.abc import Sequence

from hypercall.partition.virtual_processor import VirtualProcessor

TURN_NS = 300_000
"""The mean length of a turn in virtual time while several processors could run."""
_SHORTEST_NS = 100_000
_LONGEST_NS = 500_000


class Turns:
    """Takes the processors in turn; the seed varies the lengths of the turns.

    Args:
        processors: the virtual processors in the order of their creation.
        seed: the same seed gives the same turns.
    """

    def __init__(self, processors: Sequence[VirtualProcessor], seed: int) -> None:
        self._processors = processors
        self._random = random.Random(seed)
        self._last = len(processors) - 1

    def next(self, runnable: set[VirtualProcessor]) -> VirtualProcessor:
        """The processor after the last one that could run.

        Args:
            runnable: the processors that could; not empty.
        """
        count = len(self._processors)
        position = self._last
        for _ in range(count):
            position = (position + 1) % count
            if self._processors[position] in runnable:
                break
        self._last = position
        return self._processors[position]

    def length(self) -> int:
        """The length of a turn in nanoseconds of virtual time."""
        return self._random.randrange(_SHORTEST_NS, _LONGEST_NS)
