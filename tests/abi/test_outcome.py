from hypercall.abi.outcome import COMPLETED, SUSPEND, UNDEFINED_OPCODE, Outcome, OutcomeKind
from hypercall.tlfs.status import HvStatus


def test_parts_of_a_result() -> None:
    outcome = Outcome(OutcomeKind.COMPLETE, 5 | 27 << 32)
    assert (outcome.status, outcome.reps_completed) == (5, 27)


def test_outcomes_are_equal_by_what_they_say() -> None:
    assert COMPLETED[HvStatus.TIMEOUT] == Outcome(OutcomeKind.COMPLETE, 0x78)
    assert hash(SUSPEND) == hash(Outcome(OutcomeKind.SUSPEND))
    assert SUSPEND != UNDEFINED_OPCODE
    assert SUSPEND != 2
    assert repr(COMPLETED[HvStatus.TIMEOUT]) == "Outcome(COMPLETE, 0x78)"
