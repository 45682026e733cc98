"""How gdb wants the threads to go on: the actions of ``vCont`` and its older forms."""

from dataclasses import dataclass

from hypercall.errors import InputError
from hypercall.gdb.numbers import hex_number, thread_number

ACTIONS = b"vCont;c;C;s;S;r"
"""What `parse_actions` knows, as the answer to ``vCont?``."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """How to go on.

    Attributes:
        step: the thread that makes a step, or None; the others run as they do.
        first: with ``end``, addresses of code that the step may stay in.
        end: where that code ends.
        backward: towards the beginning of the run.
    """

    step: int | None = None
    first: int = 0
    end: int = 0
    backward: bool = False


def parse_actions(text: bytes, current: int) -> Resumption:
    """Read the actions of a ``vCont`` packet.

    Virtual processors are not held while others run, or the run would become another: so of the
    actions only the step counts.

    Args:
        text: the payload behind ``vCont;``.
        current: the thread that a step without a thread is for.

    Raises:
        InputError: an action is unknown or damaged.
    """
    result = Resumption()
    for action in text.split(b";"):
        verb, colon, thread_text = action.partition(b":")
        thread = thread_number(thread_text) if colon else -1
        kind, rest = verb[:1], verb[1:]
        if kind in (b"C", b"S"):
            hex_number(rest)
        elif kind in (b"c", b"s"):
            if rest:
                raise InputError(f"{action[:40]!r} is no action")
        elif kind != b"r":
            raise InputError(f"{action[:40]!r} is no action")
        if kind not in (b"c", b"C") and result.step is None:
            first, end = 0, 0
            if kind == b"r":
                low, _, high = rest.partition(b",")
                first, end = hex_number(low), hex_number(high)
            result = Resumption(thread if thread > 0 else current, first, end)
    return result
