"""The exceptions that a register access makes the processor raise in the guest."""

from hypercall.errors import HypercallError


class GeneralProtection(HypercallError):  # noqa: N818 - named as the architecture names it
    """The access raises #GP(0) in the guest."""
