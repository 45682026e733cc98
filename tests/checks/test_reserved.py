import pytest
from tests.checks.records import record

from hypercall.abi.record import CallRecord
from hypercall.checks.reserved import check_reserved


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (record(0x2 | 1 << 30, 0x1000, 0, 1), "reserved bits 0x40000000 in its control word"),
        (record(0x2 | 1 << 32, 0x1000, 0, 1), "is no rep call and has the rep count 1"),
        (record(0x2, 0x1000, 1 << 6, 1), "0x40 in the field flags"),
        (record(0x1000B, 0x40 | 1 << 48, 1), "0x1 in the reserved bytes 6 to 7"),
        (record(0x1000B, 0x40 | 0x20 << 32, 1), "0x20 in the field target_vtl"),
        (
            record(0x2_0000_0051, 0, 0, 0x20000, 0, 1, 0, 0x20001 | 1 << 32, 0, 1, 0),
            "0x1 in the reserved bytes 4 to 15 of element 1",
        ),
    ],
)
def test_a_reserved_bit_is_told_with_its_place(call: CallRecord, text: str) -> None:
    ((rule, told),) = check_reserved(call)
    assert rule.name == "reserved-bits"
    assert text in told


@pytest.mark.parametrize(
    "call",
    [
        record(0x2, 0x1000, 7, 1),
        record(0x1000B, 0x40, 1),
        record(0x2_0000_0051, 0, 0, 0x20000, 0, 1, 0, 0x20001, 0, 1, 0),
        record(0x10008, 1 | 5 << 32),  # padding that nobody reads
        record(0x2),  # input that was not recorded
    ],
)
def test_other_bits_may_be_set(call: CallRecord) -> None:
    assert list(check_reserved(call)) == []
