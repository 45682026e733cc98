"""What a hypercall did to its caller; the processor's side turns it into register changes."""

from enum import IntEnum

from hypercall.tlfs.status import HvStatus


class OutcomeKind(IntEnum):
    """The ways in which a hypercall can end."""

    COMPLETE = 0
    """The result is written (RAX, or EDX:EAX) and the instruction retires."""
    CONTINUE = 1
    """The instruction does not retire; the control word is written with a new rep start index."""
    SUSPEND = 2
    """The instruction does not retire; the processor issues it again when something changed."""
    UNDEFINED_OPCODE = 3
    """#UD is raised at the instruction."""
    VTL_CALL = 4
    """The instruction retires, then the next higher VTL is entered; no result is written."""
    VTL_RETURN = 5
    """The instruction retires, then the next lower VTL is entered; no result is written."""


class Outcome:
    """How a hypercall ended.

    Attributes:
        kind: the way.
        value: for COMPLETE the 64-bit result; for CONTINUE the control word with the new rep start
            index; for VTL_RETURN 1 if it is a fast return; else 0.
    """

    __slots__ = ("kind", "value")

    def __init__(self, kind: OutcomeKind, value: int = 0) -> None:
        self.kind = kind
        self.value = value

    @property
    def status(self) -> int:
        """The HV_STATUS number of a COMPLETE outcome."""
        return self.value & 0xFFFF

    @property
    def reps_completed(self) -> int:
        """The reps completed of a COMPLETE outcome."""
        return self.value >> 32 & 0xFFF

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Outcome):
            return NotImplemented
        return self.kind == other.kind and self.value == other.value

    def __hash__(self) -> int:
        return hash((self.kind, self.value))

    def __repr__(self) -> str:
        return f"Outcome({self.kind.name}, {self.value:#x})"


UNDEFINED_OPCODE = Outcome(OutcomeKind.UNDEFINED_OPCODE)
SUSPEND = Outcome(OutcomeKind.SUSPEND)
VTL_CALL = Outcome(OutcomeKind.VTL_CALL)
VTL_RETURN = Outcome(OutcomeKind.VTL_RETURN, 0)
FAST_VTL_RETURN = Outcome(OutcomeKind.VTL_RETURN, 1)
COMPLETED = {status: Outcome(OutcomeKind.COMPLETE, int(status)) for status in HvStatus}
"""The outcome of a call that completes no reps, by its status."""
