import struct
from typing import Any

import pytest

from hypercall.abi.record import CallRecord
from hypercall.coverage.marks import Mark, marks_of_access, marks_of_call
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.events import MsrEvent, Position

AT = Position(0, 0, 0, 0x1000)


def record(code: int, data: bytes, output: bytes = b"", **more: Any) -> CallRecord:
    return CallRecord(0, 0, DECLARATIONS.by_code.get(code), code, False, 0, 0, data, output, **more)


def fast(code: int, data: bytes, output: bytes = b"") -> CallRecord:
    made = record(code, data, output)
    made.fast = True
    return made


@pytest.mark.parametrize(
    ("call", "marks"),
    [
        (fast(0x0B, bytes(16)), []),
        (fast(0x15, bytes(32)), [Mark.XMM_INPUT]),
        (fast(0x8001, b"", bytes(8)), [Mark.XMM_OUTPUT]),
        (record(0x0B, bytes(16)), [Mark.SLOW_FORM]),
        (record(0x0B, b""), []),
        (record(0x5C, bytes(64)), []),
        (record(0x50, bytes(20)), []),
        (record(0x14, bytes(200)), []),
        (
            record(0x03, struct.pack("<QQQQ", 0, 1 << 3, 1, 0)),
            [Mark.SLOW_FORM, Mark.EXTENDED_RANGES],
        ),
        (
            fast(0x02, struct.pack("<QQQ", 0, 1 << 4, 1)),
            [Mark.XMM_INPUT, Mark.FLUSH_OF_ANOTHER_VTL],
        ),
        (record(0x02, bytes(8)), [Mark.SLOW_FORM]),
        (record(0x02, bytes(24), fault="#UD"), []),
        (record(0xBEEF, bytes(24)), []),
    ],
)
def test_marks_of_calls(call: CallRecord, marks: list[Mark]) -> None:
    assert list(marks_of_call(call)) == marks


@pytest.mark.parametrize(
    ("index", "value", "marks"),
    [
        (0x40000001, 0x5001, [Mark.PAGE_ENABLED]),
        (0x40000001, 0x5003, [Mark.PAGE_ENABLED, Mark.LOCKED_HYPERCALL_MSR]),
        (0x40000001, 0x5000, []),
        (0x40000083, 0x5001, [Mark.PAGE_ENABLED]),
        (0x40000092, 0xF3, [Mark.SINT_WITHOUT_AUTO_EOI]),
        (0x40000092, 0xF3 | 1 << 17, [Mark.SINT_WITH_AUTO_EOI]),
        (0x40000092, 1 << 18, [Mark.POLLED_SINT]),
        (0x40000092, 0xF3 | 1 << 16, []),
        (0x400000B0, 1 << 12 | 1, [Mark.DIRECT_TIMER]),
        (0x400000B6, 2 << 16 | 1, [Mark.MESSAGE_TIMER]),
        (0x400000B0, 0, []),
        (0x400000B1, 500, []),
        (0x80B, 0, [Mark.X2APIC_MSR]),
    ],
)
def test_marks_of_writes(index: int, value: int, marks: list[Mark]) -> None:
    assert list(marks_of_access(MsrEvent(AT, index, value, True))) == marks


def test_reads_and_faults_mark_little() -> None:
    assert list(marks_of_access(MsrEvent(AT, 0x40000001, 0x5001, False))) == []
    assert list(marks_of_access(MsrEvent(AT, 0x40000001, 0x5001, True, fault=True))) == []
    assert list(marks_of_access(MsrEvent(AT, 0x802, 0, False))) == [Mark.X2APIC_MSR]
