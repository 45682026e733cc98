"""The exceptions that the package raises on purpose."""


class HypercallError(Exception):
    """Base of every exception that the package raises on purpose."""


class InputError(HypercallError):
    """Bad input or usage: its text says in one line what is wrong, where, and how to mend it."""


class GuestMemoryError(HypercallError):
    """An access to guest-physical memory that its mapping does not allow.

    Attributes:
        gpa: the guest-physical address of the first byte that could not be accessed.
        access: ``"read"``, ``"write"`` or ``"execute"``.
    """

    def __init__(self, gpa: int, access: str) -> None:
        super().__init__(f"guest-physical address {gpa:#x} does not allow the {access}")
        self.gpa = gpa
        self.access = access
