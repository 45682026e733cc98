"""The shortest way: a simple call with all its input in RDX and R8, and no output."""

from struct import Struct

from hypercall.abi.caller import CallerRegisters, CallingProcessor
from hypercall.abi.outcome import COMPLETED, SUSPEND, Outcome
from hypercall.abi.plan import Plan, Run
from hypercall.abi.reply import RETRY, Answer, Reply

_TWO_REGISTERS = Struct("<QQ")

_PLAIN_ANSWERS: tuple[tuple[Answer, Outcome], ...] = ((RETRY, SUSPEND), *COMPLETED.items())
PLAIN_OUTCOMES = dict(_PLAIN_ANSWERS)
"""What a handler returns in most cases, and the outcome that it means."""


def in_two_registers(plan: Plan) -> Run:
    """Return the way of a simple call with all its input in RDX and R8, and no output.

    It is measured in hundreds of nanoseconds: names are local, and as a call with a starred tuple
    costs more than all the rest, there is one form for each number of fields that calls have.
    """
    handler = plan.handler
    unpack = plan.call.header.unpack
    pack = _TWO_REGISTERS.pack
    outcomes = PLAIN_OUTCOMES
    first_mask = plan.reserved_mask & (1 << 64) - 1
    second_mask = plan.reserved_mask >> 64
    refused = plan.reserved_outcome

    def run_1(vp: CallingProcessor, input: int, output: int, _: CallerRegisters) -> Outcome:
        if input & first_mask or output & second_mask:
            return refused
        (first,) = unpack(pack(input, output))
        answer = handler(vp, first)
        return outcomes.get(answer) or simple_outcome(answer)

    def run_2(vp: CallingProcessor, input: int, output: int, _: CallerRegisters) -> Outcome:
        if input & first_mask or output & second_mask:
            return refused
        first, second = unpack(pack(input, output))
        answer = handler(vp, first, second)
        return outcomes.get(answer) or simple_outcome(answer)

    def run_3(vp: CallingProcessor, input: int, output: int, _: CallerRegisters) -> Outcome:
        if input & first_mask or output & second_mask:
            return refused
        first, second, third = unpack(pack(input, output))
        answer = handler(vp, first, second, third)
        return outcomes.get(answer) or simple_outcome(answer)

    def run_any(vp: CallingProcessor, input: int, output: int, _: CallerRegisters) -> Outcome:
        if input & first_mask or output & second_mask:
            return refused
        answer = handler(vp, *unpack(pack(input, output)))
        return outcomes.get(answer) or simple_outcome(answer)

    runs: dict[int, Run] = {1: run_1, 2: run_2, 3: run_3}
    return runs.get(len(plan.call.header.values), run_any)


def simple_outcome(answer: Answer) -> Outcome:
    """Return what an answer means that is no plain status, of a call without output."""
    if not isinstance(answer, Reply):
        raise TypeError(f"a simple call cannot be answered with {answer!r}")
    return COMPLETED[answer.status]
