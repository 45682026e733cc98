"""The base of every flag word of the interface: named bits, and the rest is reserved."""

from enum import KEEP, IntFlag
from typing import Self


class FlagWord(IntFlag, boundary=KEEP):
    """A word of named bits that keeps bits without a name, as guests may set those too."""

    @classmethod
    def defined_mask(cls) -> int:
        """Return the bits that have a name; every other bit of the word is reserved."""
        mask = 0
        for member in cls.__members__.values():
            mask |= int(member)
        return mask

    @classmethod
    def text(cls, value: int) -> str:
        """Write a value as names, with the reserved bits that are set in hexadecimal.

        Args:
            value: the word as the guest gave it.

        Returns:
            For example ``ALL_PROCESSORS|NON_GLOBAL_MAPPINGS_ONLY|0x20``; ``0`` for no bits.
        """
        names = [
            name for name, member in cls.__members__.items() if member and value & member == member
        ]
        rest = value & ~cls.defined_mask()
        if rest:
            names.append(f"{rest:#x}")
        return "|".join(names) or "0"

    @classmethod
    def all(cls) -> Self:
        """Return the word with every named bit set."""
        return cls(cls.defined_mask())
