import pytest

from hypercall.cli.exit_code import exit_code_of
from hypercall.machine.result import RunResult, StopReason


@pytest.mark.parametrize(
    ("reason", "value", "code"),
    [
        (StopReason.POWER_OFF, None, 0),
        (StopReason.UNTIL, None, 0),
        (StopReason.DEBUG_EXIT, 0, 0),
        (StopReason.DEBUG_EXIT, 1, 1),
        (StopReason.DEBUG_EXIT, 0xFF, 1),
        (StopReason.PANIC, None, 1),
        (StopReason.TRIPLE_FAULT, None, 1),
        (StopReason.RESET, None, 1),
        (StopReason.DEADLOCK, None, 1),
        (StopReason.LIMIT, None, 3),
        (StopReason.INTERRUPTED, None, 130),
    ],
)
def test_every_way_to_stop_has_its_exit_code(
    reason: StopReason, value: int | None, code: int
) -> None:
    assert exit_code_of(RunResult(reason, value)) == code


def test_no_way_to_stop_is_without_exit_code() -> None:
    for reason in StopReason:
        assert exit_code_of(RunResult(reason)) in (0, 1, 3, 130)
