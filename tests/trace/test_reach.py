import struct

import pytest

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.reach import Purpose, Reach, reach_of


def record(control: int, data: bytes, result: int | None = 0) -> CallRecord:
    declaration = DECLARATIONS.by_code.get(control & 0xFFFF)
    return CallRecord(1, 0, declaration, control, False, 0, 0, data, result=result)


def ipi(vector: int, vtl: int, mask: int) -> bytes:
    return struct.pack("<IB3xQ", vector, vtl, mask)


@pytest.mark.parametrize(
    ("control", "data", "expected"),
    [
        (0x0B, ipi(0xFB, 0, 0b1101), Reach(Purpose.INTERRUPT, 0b1101, 0xFB)),
        (0x0B, ipi(0xFB, 0x11, 1), Reach(Purpose.INTERRUPT, 1, 0xFB, 1)),
        (
            0x2_0015 | 1 << 17,
            struct.pack("<IB3xQQQ", 0x40, 0, 0, 0b10, 0b101),
            Reach(Purpose.INTERRUPT, 0b101 << 64, 0x40),
        ),
        (0x15, struct.pack("<IB3xQQ", 0x40, 0, 1, 0), Reach(Purpose.INTERRUPT, None, 0x40)),
        (0x02, struct.pack("<QQQ", 0x1000, 0, 0b11), Reach(Purpose.FLUSH, 0b11)),
        (0x02, struct.pack("<QQQ", 0x1000, 1, 0b11), Reach(Purpose.FLUSH, None)),
        (0x02, struct.pack("<QQ", 0x1000, 1), Reach(Purpose.FLUSH, None)),
        (0x03 | 1 << 32, struct.pack("<QQQQ", 0, 2, 4, 0x5000), Reach(Purpose.FLUSH, 4)),
        (0x13, struct.pack("<QQQQ", 0, 0, 1, 0), Reach(Purpose.FLUSH, None)),
    ],
)
def test_the_processors_that_a_call_names(control: int, data: bytes, expected: Reach) -> None:
    assert reach_of(record(control & ~0x1_0000, data)) == expected


def test_calls_that_reach_nobody() -> None:
    data = ipi(0xFB, 0, 1)
    assert reach_of(record(0x0B, data, result=5)) is None
    assert reach_of(record(0x0B, data, result=None)) is None
    assert reach_of(record(0x5C, bytes(24))) is None
    assert reach_of(record(0xBEEF, data)) is None
    # Lists that were not read, and a set that is none.
    assert reach_of(record(0x0B, b"")) is None
    assert reach_of(record(0x15, struct.pack("<IB3xQQ", 0x40, 0, 7, 0))) is None


def test_indexes_end_with_the_last_processor() -> None:
    assert list(Reach(Purpose.FLUSH, 0b1_0110).indexes(4)) == [1, 2]
    assert list(Reach(Purpose.FLUSH, None).indexes(3)) == [0, 1, 2]
