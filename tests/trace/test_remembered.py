import dataclasses

import pytest

from hypercall.abi.record import CallRecord
from hypercall.trace.remembered import Remembered

RECORD = CallRecord(1, 0, None, 0xBEEF, False, 1, 2, b"in", b"out", 0, None, 10, 20, False)


def test_equal_calls_are_described_once_wherever_and_whenever_they_are_made() -> None:
    made: list[CallRecord] = []
    texts = Remembered(lambda record: made.append(record) or "text")  # type: ignore[func-returns-value]
    elsewhere = dataclasses.replace(RECORD, vp_index=3, vtl=1, entered_at=99, left_at=100)
    assert texts.of(RECORD) == texts.of(elsewhere) == "text"
    assert made == [RECORD]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("control", 1),
        ("input_register", 9),
        ("output_register", 9),
        ("input", b"IN"),
        ("output", b"OUT"),
        ("result", None),
        ("fault", "#UD"),
        ("continued", True),
        ("injected", True),
    ],
)
def test_every_difference_that_shows_makes_another_text(name: str, value: object) -> None:
    texts = Remembered(repr)
    other = dataclasses.replace(RECORD, **{name: value})  # type: ignore[arg-type]
    assert texts.of(RECORD) == repr(RECORD)
    assert texts.of(other) == repr(other)


def test_memory_is_bounded() -> None:
    texts = Remembered(lambda record: str(record.control))
    for control in range(10_000):
        assert texts.of(dataclasses.replace(RECORD, control=control)) == str(control)
    assert len(texts._made) <= 4096
