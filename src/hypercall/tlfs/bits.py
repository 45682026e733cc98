"""Bit fields of a 64-bit register."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BitField:
    """A field of bits in a register.

    Attributes:
        name: the TLFS's name in Python case.
        shift: number of the lowest bit.
        width: bits.
    """

    name: str
    shift: int
    width: int = 1

    @property
    def mask(self) -> int:
        """The field's bits in place."""
        return ((1 << self.width) - 1) << self.shift

    def get(self, register: int) -> int:
        """Return the field's value."""
        return register >> self.shift & ((1 << self.width) - 1)

    def set(self, register: int, value: int) -> int:
        """Return the register with the field changed to the value's low bits."""
        return register & ~self.mask | value << self.shift & self.mask


def defined_mask(*fields: BitField) -> int:
    """Return the bits of all fields; the others of the register are reserved."""
    mask = 0
    for field in fields:
        mask |= field.mask
    return mask
