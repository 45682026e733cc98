import pytest
from tests.checks.records import record

from hypercall.abi.record import CallRecord
from hypercall.checks.processor_sets import ALL, check_processor_set, processors_of

ONE_BANK = 1 << 17


@pytest.mark.parametrize(
    ("call", "processors"),
    [
        (record(0x2, 0x1000, 0, 0b101), 0b101),
        (record(0x2, 0x1000, 1, 0), ALL),
        (record(0x13, 0x1000, 0, 1, 0), ALL),
        (record(0x13 | ONE_BANK, 0x1000, 0, 0, 0b10, 0b11), 0b11 << 64),
        (record(0x13, 0x1000, 0, 0, 0b10), None),
        (record(0x1000B, 0x40, 6), 6),
        (record(0x1_0008, 1), None),
        (record(0x2), None),
    ],
)
def test_the_processors_of_a_call(call: CallRecord, processors: int | None) -> None:
    assert processors_of(call) == processors


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (record(0x2, 0x1000, 0, 0), "empty-processor-set"),
        (record(0x1000B, 0x40, 0), "empty-processor-set"),
        (record(0x13, 0x1000, 0, 0, 0), "empty-processor-set"),
        (record(0x13, 0x1000, 0, 4, 0), "layout-of-other-form"),
        (record(0x15, 0x40, 2, 0), "layout-of-other-form"),
        (record(0x2 | ONE_BANK, 0x1000, 0, 0, 1, 1), "layout-of-other-form"),
    ],
)
def test_a_set_that_is_wrong(call: CallRecord, rule: str) -> None:
    assert [found.name for found, _ in check_processor_set(call)] == [rule]


@pytest.mark.parametrize(
    "call",
    [
        record(0x2, 0x1000, 1, 0),
        record(0x13, 0x1000, 1, 7, 0),  # all processors by the flags: the set is not looked at
        record(0x13, 0x1000, 0, 1, 0),
        record(0x15 | ONE_BANK, 0x40, 0, 1, 2),
    ],
)
def test_a_set_that_is_right(call: CallRecord) -> None:
    assert list(check_processor_set(call)) == []
