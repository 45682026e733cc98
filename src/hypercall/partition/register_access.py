"""Why a register by HV_REGISTER_NAME cannot be read or written, or not yet."""

from hypercall.errors import HypercallError
from hypercall.tlfs.status import HvStatus


class RegisterAccessError(HypercallError):
    """A register that cannot be read or written so.

    Attributes:
        status: what the hypercall answers.
    """

    def __init__(self, status: HvStatus) -> None:
        super().__init__(f"the register access is refused with {status.name}")
        self.status = status


class RegisterWait(Exception):  # noqa: N818
    """The write of a register has to wait: the caller is suspended and tries it again."""
