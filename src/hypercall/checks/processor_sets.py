"""The sets of processors that calls name: empty ones, and ones in the layout of another call."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from hypercall.abi.record import CallRecord
from hypercall.checks.rule import Need, Rule, Severity, Source
from hypercall.tlfs.call_flags import FlushFlags, InterruptTargetFlags, VpSetFormat
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.declaration import CallDeclaration
from hypercall.tlfs.layout import FieldKind
from hypercall.tlfs.vp_set import sparse_bitmap

EMPTY_SET = Rule(
    "empty-processor-set",
    Severity.WARNING,
    Source.EVENTS,
    "A call names no processor at all.",
    "A flush of nobody is refused by some hosts and does nothing on others; either way the"
    " translations that the guest wanted gone are still there.",
    "datatypes/hv_vp_set; hypercalls/HvCallFlushVirtualAddressSpace",
    needs=(Need.INPUT,),
)
LAYOUT = Rule(
    "layout-of-other-form",
    Severity.ERROR,
    Source.EVENTS,
    "A call has the code of the form with a processor set and the layout of the form with a mask,"
    " or the reverse.",
    "The two forms differ in what stands behind the mask. The call is refused at best; at worst a"
    " mask is read as the format of a set, which for processor 0 alone means all processors.",
    "hypercalls/HvCallFlushVirtualAddressSpaceEx; hypercalls/HvCallSendSyntheticClusterIpiEx",
    needs=(Need.INPUT,),
)

ALL = -1
"""The bitmap of a set that names all processors without listing them."""


def processors_of(record: CallRecord) -> int | None:
    """Return the processors that a call names.

    Returns:
        Bit i for VP index i, `ALL`, or None for a call that names no set, or not a whole one.
    """
    declaration = record.declaration
    if declaration is None or not _names_set(declaration):
        return None
    data = record.input
    header = declaration.header
    if len(data) < header.size:
        return None
    values = header.unpack_named(data)
    if values.get("flags", 0) & FlushFlags.ALL_PROCESSORS and "address_space" in values:
        return ALL
    mask = values.get("processor_mask")
    if mask is not None:
        return int(mask)
    units = ControlWord.parse(record.control).variable_header_size
    banks = data[header.size : header.size + 8 * units]
    if "processor_mask_or_format" in values:
        word = int(values["processor_mask_or_format"])
        if not values["target_flags"] & InterruptTargetFlags.PROCESSOR_SET:
            return word
        return _set(word, int.from_bytes(banks[:8], "little"), banks[8:])
    return _set(values["format"], values["valid_banks_mask"], banks)


def check_processor_set(record: CallRecord) -> Iterator[tuple[Rule, str]]:
    """Yield what is wrong with the set of processors that a call names."""
    declaration = record.declaration
    if declaration is None or not _names_set(declaration):
        return
    sibling = _other_form(declaration)
    if sibling is not None:
        text = _layout_mismatch(record, declaration, sibling)
        if text:
            yield LAYOUT, text
            return
    if processors_of(record) == 0:
        yield EMPTY_SET, f"{declaration.name} names no processor."


def _set(form: int, valid_banks_mask: int, banks: bytes) -> int | None:
    if form == VpSetFormat.ALL:
        return ALL
    if form != VpSetFormat.SPARSE_4K:
        return None
    return sparse_bitmap(valid_banks_mask, banks)


def _layout_mismatch(
    record: CallRecord, declaration: CallDeclaration, sibling: CallDeclaration
) -> str | None:
    units = ControlWord.parse(record.control).variable_header_size
    if declaration.variable_header is None:
        if units:
            return (
                f"{declaration.name} takes a mask, and was called with a variable header of"
                f" {units} words, as {sibling.name} takes one for its set."
            )
        return None
    data = record.input
    header = declaration.header
    if units or len(data) < header.size:
        return None
    values: dict[str, Any] = header.unpack_named(data)
    if values.get("flags", 0) & FlushFlags.ALL_PROCESSORS and "address_space" in values:
        return None
    form = values["format"]
    if form in (VpSetFormat.SPARSE_4K, VpSetFormat.ALL):
        return None
    return (
        f"{declaration.name} takes a set, and has {form:#x} where the set's format belongs and no"
        f" banks, as if it were {sibling.name} with that mask."
    )


@cache
def _names_set(declaration: CallDeclaration) -> bool:
    kinds = {field.kind for field in declaration.header.values}
    return (
        FieldKind.VP_MASK in kinds
        or FieldKind.VP_SET_FORMAT in kinds
        or "processor_mask_or_format" in declaration.header.field_names
    )


@cache
def _other_form(declaration: CallDeclaration) -> CallDeclaration | None:
    """Return the call that does the same with a set for a mask, or the reverse."""
    name = declaration.name
    wanted = name.removesuffix("Ex") if name.endswith("Ex") else name + "Ex"
    return next((each for each in DECLARATIONS if each.name == wanted), None)
