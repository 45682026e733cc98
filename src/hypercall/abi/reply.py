"""What a handler returns."""

from collections.abc import Callable
from enum import Enum, auto

from hypercall.tlfs.status import HvStatus


class Retry(Enum):
    """The type of `RETRY`."""

    RETRY = auto()


RETRY = Retry.RETRY
"""The call waits: nothing is completed, and the guest issues the instruction again."""


class Reply:
    """The answer of a simple call with output.

    Attributes:
        status: the result's status.
        output: at most the declared output (and its variable data); what is missing of the fixed
            output is written as zeros. Empty writes nothing.
    """

    __slots__ = ("output", "status")

    def __init__(self, status: HvStatus, output: bytes = b"") -> None:
        self.status = status
        self.output = output


class RepReply:
    """The answer of a rep call.

    Attributes:
        completed: how many of the elements given were completed, from the first on. With status
            SUCCESS and fewer than all, the call continues at the first that was not.
        status: SUCCESS, or why the element after the completed ones failed.
        output: output elements of the completed ones, in their order.
        ends: the call ends even so: the caller gets SUCCESS and fewer reps than it asked for, and
            has to go on by itself.
    """

    __slots__ = ("completed", "ends", "output", "status")

    def __init__(
        self,
        completed: int,
        status: HvStatus = HvStatus.SUCCESS,
        output: bytes = b"",
        *,
        ends: bool = False,
    ) -> None:
        self.completed = completed
        self.status = status
        self.output = output
        self.ends = ends


Answer = HvStatus | Reply | RepReply | Retry
Handler = Callable[..., Answer]
"""``handler(vp, *header_fields[, variable_header][, variable_input][, elements])``.

The optional arguments are memoryviews, there when the call's declaration has them. A rep handler
that returns a plain status says that all elements given (SUCCESS) or none (else) are completed.
"""
