"""Field values as text for people: flags by name, sets as ``{0-3,65}``, ranges as base+pages."""

from collections.abc import Callable, Mapping
from struct import unpack_from
from types import MappingProxyType
from typing import Any

from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.gva_range import range_text
from hypercall.tlfs.identifiers import (
    ANY_VP,
    INPUT_VTL_RESERVED_MASK,
    INPUT_VTL_TARGET_MASK,
    INPUT_VTL_USE_TARGET,
    PARTITION_ID_SELF,
    VP_INDEX_SELF,
    vp_set_text,
)
from hypercall.tlfs.initial_context import SegmentRegister, TableRegister
from hypercall.tlfs.layout import Field, FieldKind
from hypercall.tlfs.messages import MessageType
from hypercall.tlfs.registers import (
    SEGMENT_REGISTERS,
    TABLE_REGISTERS,
    register_size,
    register_text,
)
from hypercall.tlfs.vp_set import indexes

_SHOWN_BYTES = 32
_SHOWN_RANGES = 16


def field_text(field: Field, value: Any) -> str:
    """Write a field's value.

    Args:
        field: the field.
        value: an integer, or bytes, as `Structure.unpack` gives it.
    """
    writer = _WRITERS.get(field.kind)
    if writer is not None:
        return writer(value)
    if field.values is not None:
        if issubclass(field.values, FlagWord):
            return field.values.text(value)
        try:
            return str(field.values(value).name)
        except ValueError:
            return f"{value:#x}"
    if isinstance(value, int):
        return str(value)
    return bytes_text(value)


def bytes_text(data: bytes) -> str:
    """Write bytes in hexadecimal, the first 32 of them and how many more there are."""
    shown = bytes(data[:_SHOWN_BYTES]).hex()
    rest = len(data) - _SHOWN_BYTES
    return f"{shown}... ({len(data)} bytes)" if rest > 0 else shown or "(none)"


def register_value_text(name: int, value: bytes) -> str:
    """Write the 16 bytes of an HV_REGISTER_VALUE as its register wants to be read."""
    if name in SEGMENT_REGISTERS:
        return _segment(value)
    if name in TABLE_REGISTERS:
        return _table(value)
    return f"{int.from_bytes(value[: register_size(name)], 'little'):#x}"


def mask_text(mask: int) -> str:
    """Write a mask of processors as a set of VP indexes."""
    return vp_set_text(indexes(mask))


def page_ranges_text(data: bytes, count: int) -> str:
    """Write pairs of first GPA page and page count, the first `count` of them."""
    count = min(count, len(data) // 16)
    shown = []
    for number in range(min(count, _SHOWN_RANGES)):
        page, pages = unpack_from("<QQ", data, 16 * number)
        shown.append(f"{page << 12:#x}+{pages} page{'s' if pages != 1 else ''}")
    if count > _SHOWN_RANGES:
        shown.append(f"and {count - _SHOWN_RANGES} more")
    return "[" + ", ".join(shown) + "]"


def _hex(value: int) -> str:
    return f"{value:#x}"


def _partition_id(value: int) -> str:
    return "SELF" if value == PARTITION_ID_SELF else f"{value:#x}"


def _vp_index(value: int) -> str:
    return {VP_INDEX_SELF: "SELF", ANY_VP: "ANY"}.get(value, str(value))


def _vtl(value: int) -> str:
    return f"VTL{value}"


def _input_vtl(value: int) -> str:
    text = f"VTL{value & INPUT_VTL_TARGET_MASK}" if value & INPUT_VTL_USE_TARGET else "own"
    reserved = value & INPUT_VTL_RESERVED_MASK
    return f"{text}|{reserved:#x}" if reserved else text


def _message_type(value: int) -> str:
    try:
        return MessageType(value).name
    except ValueError:
        return f"{value:#x}"


def _segment(value: bytes) -> str:
    segment = SegmentRegister.parse(value)
    return (
        f"{{base={segment.base:#x} limit={segment.limit:#x} selector={segment.selector:#x}"
        f" attributes={segment.attributes:#x}}}"
    )


def _table(value: bytes) -> str:
    table = TableRegister.parse(value)
    return f"{{base={table.base:#x} limit={table.limit:#x}}}"


def _page(value: int) -> str:
    return f"{value << 12:#x}"


def _gva_range(value: int) -> str:
    return range_text(value, extended=False)


def _gpa_range(value: int) -> str:
    return range_text(value, extended=True)


def _duration(value: int) -> str:
    return f"{value / 10:g}us"


def _wide(value: bytes) -> str:
    return f"{int.from_bytes(value, 'little'):#x}"


_WRITERS: Mapping[FieldKind, Callable[[Any], str]] = MappingProxyType(
    {
        FieldKind.HEX: _hex,
        FieldKind.ADDRESS_SPACE: _hex,
        FieldKind.GPA: _hex,
        FieldKind.CONNECTION_ID: _hex,
        FieldKind.VP_SET_BANKS_MASK: _hex,
        FieldKind.BYTES: bytes_text,
        FieldKind.GPA_PAGE: _page,
        FieldKind.GVA_PAGE: _page,
        FieldKind.GPA_RANGE: _gpa_range,
        FieldKind.GVA_RANGE: _gva_range,
        FieldKind.PARTITION_ID: _partition_id,
        FieldKind.VP_INDEX: _vp_index,
        FieldKind.VP_MASK: mask_text,
        FieldKind.HV_VTL: _vtl,
        FieldKind.HV_INPUT_VTL: _input_vtl,
        FieldKind.MESSAGE_TYPE: _message_type,
        FieldKind.REGISTER_NAME: register_text,
        FieldKind.REGISTER_VALUE: _wide,
        FieldKind.SEGMENT: _segment,
        FieldKind.TABLE: _table,
        FieldKind.DURATION: _duration,
    }
)
