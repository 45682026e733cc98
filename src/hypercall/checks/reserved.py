"""Bits that must be zero: of the control word, of headers, of elements, of flag words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from hypercall.abi.record import CallRecord
from hypercall.checks.rule import Need, Rule, Severity, Source
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.declaration import CallClass
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.layout import FieldKind, ReservedRule, Structure

RESERVED = Rule(
    "reserved-bits",
    Severity.ERROR,
    Source.EVENTS,
    "A call has bits set that must be zero: in its control word, or in reserved fields and flags"
    " of its input.",
    "A host that checks them refuses the call; one that does not will give them a meaning some"
    " day.",
    "hypercall-interface, Hypercall Inputs; the call's own page",
    needs=(Need.INPUT, Need.CONTROL_WORDS),
)

_INPUT_VTL_RESERVED = 0xE0
_VTL_RESERVED = 0xF0


def check_reserved(record: CallRecord) -> Iterator[tuple[Rule, str]]:
    """Yield which reserved bits of a call are set."""
    declaration = record.declaration
    if declaration is None or declaration.call_class is CallClass.VTL_SWITCH:
        return
    name = declaration.name
    word = ControlWord.parse(record.control)
    if word.reserved:
        yield RESERVED, f"{name} has reserved bits {word.reserved:#x} in its control word."
    if not declaration.is_rep and (word.rep_count or word.rep_start):
        yield (
            RESERVED,
            f"{name} is no rep call and has the rep count {word.rep_count}"
            f" and start {word.rep_start}.",
        )
    data = record.input
    header = declaration.header
    for text in _set_in(header, data, 0):
        yield RESERVED, f"{name} has {text}."
    element = declaration.element
    if element is None or not _has_reserved(element):
        return
    start = declaration.header.size
    if declaration.variable_header is not None:
        start += 8 * word.variable_header_size
    for number in range(min(word.rep_count, max(0, len(data) - start) // element.size)):
        for text in _set_in(element, data, start + number * element.size):
            yield RESERVED, f"{name} has {text} of element {number}."
            return


def _set_in(structure: Structure, data: bytes, start: int) -> Iterator[str]:
    for offset, size, mask, field in _reserved_of(structure):
        if start + offset + size > len(data):
            return
        value = int.from_bytes(data[start + offset : start + offset + size], "little") & mask
        if value:
            yield f"{value:#x} in {field}"


@cache
def _has_reserved(structure: Structure) -> bool:
    return bool(_reserved_of(structure))


@cache
def _reserved_of(structure: Structure) -> tuple[tuple[int, int, int, str], ...]:
    """Return (offset, size, mask of bits that must be zero, name for people) of each such field."""
    found = []
    for field in structure.fields:
        mask = 0
        text = f"the field {field.name}"
        if field.reserved is ReservedRule.MUST_BE_ZERO:
            mask = (1 << 8 * field.size) - 1
            if field.name.startswith("reserved"):
                text = f"the reserved bytes {field.offset} to {field.offset + field.size - 1}"
        elif field.kind is FieldKind.FLAGS:
            values = field.values
            if isinstance(values, type) and issubclass(values, FlagWord):
                mask = ~values.defined_mask() & (1 << 8 * field.size) - 1
        elif field.kind is FieldKind.HV_INPUT_VTL:
            mask = _INPUT_VTL_RESERVED
        elif field.kind is FieldKind.HV_VTL:
            mask = _VTL_RESERVED
        if mask:
            found.append((field.offset, field.size, mask, text))
    return tuple(found)
