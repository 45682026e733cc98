import pytest
from tests.checks.records import record

from hypercall.abi.record import CallRecord
from hypercall.checks.forms import check_flush_size, check_form


@pytest.mark.parametrize(
    ("call", "slow"),
    [
        (record(0xB, 0x40, 1), True),
        (record(0x5D, 1), True),
        (record(0x1000B, 0x40, 1), False),
        (record(0x2, 0x1000, 0, 1), False),  # needs XMM registers, which not every kernel may use
        (record(0x8001, second=0x6000), False),  # has output
        (record(0x1_0000_009A, 0, 0, 0, second=0x6000), False),
    ],
)
def test_which_calls_would_fit_into_two_registers(call: CallRecord, slow: bool) -> None:
    assert bool(list(check_form(call))) == slow


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (record(0x2, 0x1000, 2, 1), "by its flags flushes all of them"),
        (record(0x2_0000_0003, 0x1000, 0, 1, 0x7000, 0x7000), "0x7000 more than once"),
        (record(0x2_0000_0003, 0x1000, 0, 1, 0x7001, 0x8000), "0x8000 more than once"),
        (
            record(0x11_0000_0003, 0x1000, 0, 1, *(0xFFF + (n << 24) for n in range(17))),
            "lists 69632 pages",
        ),
    ],
)
def test_a_flush_that_is_too_large(call: CallRecord, text: str) -> None:
    ((_, told),) = check_flush_size(call)
    assert text in told


@pytest.mark.parametrize(
    "call",
    [
        record(0x2, 0, 2, 1),
        record(0x2_0000_0003, 0x1000, 0, 1, 0x7000, 0x8000),
        record(0x2_0000_0003, 0x1000, 0, 1),
    ],
)
def test_a_flush_of_the_right_size(call: CallRecord) -> None:
    assert list(check_flush_size(call)) == []
