"""The hypercall input value (control word) and the hypercall result value."""

from dataclasses import dataclass
from typing import Self

CODE_MASK = 0xFFFF
FAST = 1 << 16
VARIABLE_HEADER_SHIFT = 17
VARIABLE_HEADER_MASK = 0x3FF
NESTED = 1 << 31
REP_COUNT_SHIFT = 32
REP_START_SHIFT = 48
REP_MASK = 0xFFF
RESERVED_MASK = 0xF << 27 | 0xF << 44 | 0xF << 60
"""Bits 30:27, 47:44 and 63:60: RsvdZ."""
REP_START_FIELD = REP_MASK << REP_START_SHIFT

MAX_REPS = REP_MASK


@dataclass(frozen=True, slots=True)
class ControlWord:
    """A control word taken apart (TLFS "Hypercall Inputs").

    Attributes:
        code: call code, bits 15:0.
        fast: parameters in registers, bit 16.
        variable_header_size: units of 8 bytes, bits 26:17.
        nested: for the L0 hypervisor of a nested set-up, bit 31.
        rep_count: bits 43:32; 0 for a simple call.
        rep_start: bits 59:48.
        reserved: the reserved bits that are set, in their places.
    """

    code: int
    fast: bool = False
    variable_header_size: int = 0
    nested: bool = False
    rep_count: int = 0
    rep_start: int = 0
    reserved: int = 0

    @classmethod
    def parse(cls, value: int) -> Self:
        """Take a 64-bit control word apart; every value has a meaning, none is refused here."""
        return cls(
            code=value & CODE_MASK,
            fast=bool(value & FAST),
            variable_header_size=value >> VARIABLE_HEADER_SHIFT & VARIABLE_HEADER_MASK,
            nested=bool(value & NESTED),
            rep_count=value >> REP_COUNT_SHIFT & REP_MASK,
            rep_start=value >> REP_START_SHIFT & REP_MASK,
            reserved=value & RESERVED_MASK,
        )

    @property
    def value(self) -> int:
        """The 64-bit control word."""
        return (
            self.code
            | (FAST if self.fast else 0)
            | self.variable_header_size << VARIABLE_HEADER_SHIFT
            | (NESTED if self.nested else 0)
            | self.rep_count << REP_COUNT_SHIFT
            | self.rep_start << REP_START_SHIFT
            | self.reserved
        )


@dataclass(frozen=True, slots=True)
class ResultValue:
    """A result word taken apart (TLFS "Hypercall Outputs").

    Attributes:
        status: the HV_STATUS as a number, bits 15:0.
        reps_completed: counted from element 0, bits 43:32.
    """

    status: int
    reps_completed: int = 0

    @classmethod
    def parse(cls, value: int) -> Self:
        """Take a 64-bit result word apart; reserved bits are ignored."""
        return cls(value & 0xFFFF, value >> REP_COUNT_SHIFT & REP_MASK)

    @property
    def value(self) -> int:
        """The 64-bit result word."""
        return self.status | self.reps_completed << REP_COUNT_SHIFT
