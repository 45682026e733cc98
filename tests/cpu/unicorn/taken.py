"""Rigs as they were at one moment, and again: the same, or another of the same size."""

from collections.abc import Callable

import pytest
from tests.cpu.rig import RAM, Rig

PAGE = 4096
DEVICE = RAM + PAGE


class Taken:
    """A rig as it was at one moment."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.saved = rig.engine.save()
        self.ram, self.arena = bytes(rig.ram), bytes(rig.arena)

    def again(self) -> Rig:
        """The same rig at that moment."""
        engine = self.rig.engine
        engine.replace_memory("ram", 0, self.ram)
        engine.replace_memory("arena", 0, self.arena)
        engine.restore(self.saved, True)
        return self.rig

    def another(self) -> Rig:
        """A rig with a context for each processor that was brought to that moment."""
        tables = len(self.saved["tables"])
        rig = Rig(-(-len(self.saved["contexts"]) // tables))
        for _ in range(tables - 1):
            rig.engine.add_table(RAM // PAGE + 16)
        rig.engine.map_device(DEVICE)
        rig.ram[:] = self.ram
        rig.arena[:] = self.arena
        rig.engine.restore(self.saved, False)
        return rig


def again(rig: Rig, spoil: Callable[[Rig], object]) -> Rig:
    """Save a rig, spoil it, and let it go back."""
    taken = Taken(rig)
    spoil(rig)
    return taken.again()


def another(rig: Rig, spoil: Callable[[Rig], object]) -> Rig:
    """Save a rig, and bring another one to the same moment."""
    taken = Taken(rig)
    spoil(rig)
    return taken.another()


def reset(rig: Rig) -> None:
    """Reset every context of a rig."""
    for context in range(2):
        rig.engine.reset_context(context)


How = Callable[[Rig, Callable[[Rig], object]], Rig]
both = pytest.mark.parametrize("back", [again, another])
