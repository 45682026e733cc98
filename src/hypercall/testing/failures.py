"""What goes wrong with a guest under test, each in one line."""

from hypercall.errors import HypercallError


class GuestTestError(HypercallError):
    """Base of what fails a test because the guest did not do what it was to do."""


class BootError(GuestTestError):
    """The guest did not come up.

    Attributes:
        sections: titles and texts for the report of a test that wanted it.
    """

    def __init__(self, text: str, sections: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(text)
        self.sections = sections


class GuestEndedError(GuestTestError):
    """The guest ended, for instance by a panic, while the test waited for something else."""


class GuestTimeoutError(GuestTestError):
    """What the test waited for did not come within the virtual time that it allowed."""


class CommandError(GuestTestError):
    """A command on the guest's shell returned another status than 0."""
