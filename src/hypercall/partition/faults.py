"""The exceptions of accesses that the processor does not carry out as the guest wanted."""

from hypercall.errors import HypercallError


class GeneralProtection(HypercallError):  # noqa: N818 - named as the architecture names it
    """The access raises #GP(0) in the guest."""


class Intercepted(HypercallError):  # noqa: N818 - named as the TLFS names it
    """A higher VTL intercepts the access: the instruction does not retire.

    The message of the intercept is on its way, and that VTL runs next on the virtual processor.
    """
