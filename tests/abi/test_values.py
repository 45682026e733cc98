from struct import pack

import pytest

from hypercall.abi.values import (
    bytes_text,
    field_text,
    mask_text,
    page_ranges_text,
    register_value_text,
)
from hypercall.tlfs.call_flags import InterruptSource, MapGpaFlags
from hypercall.tlfs.layout import Field, FieldKind


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (FieldKind.INTEGER, 12, "12"),
        (FieldKind.HEX, 12, "0xc"),
        (FieldKind.PARTITION_ID, 2**64 - 1, "SELF"),
        (FieldKind.PARTITION_ID, 5, "0x5"),
        (FieldKind.VP_INDEX, 0xFFFFFFFE, "SELF"),
        (FieldKind.VP_INDEX, 0xFFFFFFFF, "ANY"),
        (FieldKind.VP_INDEX, 7, "7"),
        (FieldKind.HV_VTL, 1, "VTL1"),
        (FieldKind.HV_INPUT_VTL, 0x02, "own"),
        (FieldKind.HV_INPUT_VTL, 0x11, "VTL1"),
        (FieldKind.HV_INPUT_VTL, 0x31, "VTL1|0x20"),
        (FieldKind.GPA_PAGE, 2, "0x2000"),
        (FieldKind.GPA_RANGE, 0x400800, "0x400000+512 pages"),
        (FieldKind.MESSAGE_TYPE, 0x80000010, "TIMER_EXPIRED"),
        (FieldKind.MESSAGE_TYPE, 3, "0x3"),
        (FieldKind.REGISTER_NAME, 0x20010, "RIP"),
        (FieldKind.DURATION, 1_000_000, "100000us"),
        (FieldKind.BYTES, b"\1\2", "0102"),
    ],
)
def test_kinds(kind: FieldKind, value: int | bytes, text: str) -> None:
    size = len(value) if isinstance(value, bytes) else 8
    assert field_text(Field("f", 0, size, kind), value) == text


def test_every_kind_of_integer_field_can_be_written() -> None:
    for kind in FieldKind:
        if kind not in (FieldKind.SEGMENT, FieldKind.TABLE, FieldKind.REGISTER_VALUE):
            value = b"" if kind is FieldKind.BYTES else 2**64 - 1
            assert field_text(Field("f", 0, 8, kind), value)


def test_named_values() -> None:
    flags = Field("f", 0, 4, FieldKind.FLAGS, MapGpaFlags)
    assert field_text(flags, 0x8003) == "READ|WRITE|ADJUSTABLE"
    source = Field("s", 0, 4, FieldKind.ENUMERATION, InterruptSource)
    assert field_text(source, 1) == "MSI"
    assert field_text(source, 9) == "0x9"


def test_bytes_are_shortened() -> None:
    assert bytes_text(b"") == "(none)"
    assert bytes_text(bytes(32)) == "00" * 32
    assert bytes_text(bytes(33)) == "00" * 32 + "... (33 bytes)"


def test_registers() -> None:
    assert register_value_text(0x20000, pack("<QQ", 5, 9)) == "0x5"
    assert register_value_text(0x30000, pack("<QQ", 5, 9)) == "0x90000000000000005"
    assert "selector=0x10" in register_value_text(0x60001, pack("<QIHH", 0, 1, 0x10, 0xA09B))


def test_sets_and_ranges() -> None:
    assert mask_text(0b1011) == "{0-1,3}"
    assert page_ranges_text(pack("<QQ", 1, 1), 5) == "[0x1000+1 page]"
    assert page_ranges_text(pack("<QQ", 1, 2) * 17, 17).endswith("and 1 more]")
