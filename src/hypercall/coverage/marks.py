"""Signs of an enlightenment's use that are neither a call nor an MSR by itself."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from hypercall.abi.record import CallRecord
from hypercall.tlfs.call_flags import FlushFlags
from hypercall.tlfs.calls import Call
from hypercall.tlfs.declaration import MAX_REGISTER_BYTES, FastForm
from hypercall.tlfs.msrs import (
    ENABLE,
    LOCKED,
    SINT_AUTO_EOI,
    SINT_MASKED,
    SINT_POLLING,
    STIMER_DIRECT_MODE,
    SyntheticMsr,
)
from hypercall.trace.events import MsrEvent

_PAIR = 16
_FLUSHES = (
    Call.FLUSH_VIRTUAL_ADDRESS_SPACE,
    Call.FLUSH_VIRTUAL_ADDRESS_LIST,
    Call.FLUSH_VIRTUAL_ADDRESS_SPACE_EX,
    Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX,
)


class Mark(Enum):
    """What was seen; the value says it in words."""

    XMM_INPUT = "fast call with input in XMM registers"
    XMM_OUTPUT = "fast call with output in registers"
    EXTENDED_RANGES = "flush with the extended format of ranges"
    FLUSH_OF_ANOTHER_VTL = "flush for another VTL"
    POLLED_SINT = "SINT in polling mode"
    LOCKED_HYPERCALL_MSR = "hypercall MSR locked"
    DIRECT_TIMER = "synthetic timer in direct mode"
    MESSAGE_TIMER = "synthetic timer that sends messages"
    X2APIC_MSR = "MSR of the x2APIC"
    SINT_WITHOUT_AUTO_EOI = "SINT without AutoEOI"
    SINT_WITH_AUTO_EOI = "SINT with AutoEOI"
    SLOW_FORM = "call in memory whose input fits into registers"
    PAGE_ENABLED = "page enabled"


PAGE_MSRS = (
    SyntheticMsr.HYPERCALL,
    SyntheticMsr.REFERENCE_TSC,
    SyntheticMsr.VP_ASSIST_PAGE,
    SyntheticMsr.SIEFP,
    SyntheticMsr.SIMP,
)
"""The MSRs that place and enable a page."""

_SINTS = range(SyntheticMsr.SINT0, SyntheticMsr.SINT15 + 1)
_TIMERS = range(SyntheticMsr.STIMER0_CONFIG, SyntheticMsr.STIMER3_COUNT + 1, 2)
_X2APIC = range(0x800, 0x900)


def marks_of_call(record: CallRecord) -> Iterator[Mark]:
    """Return the marks of a call that was carried out."""
    declaration = record.declaration
    if declaration is None or record.fault is not None:
        return
    if record.fast:
        if len(record.input) > _PAIR:
            yield Mark.XMM_INPUT
        if record.output:
            yield Mark.XMM_OUTPUT
    elif (
        declaration.fast is FastForm.YES
        and 0 < len(record.input) <= MAX_REGISTER_BYTES
        and not declaration.output_size(1)
    ):
        yield Mark.SLOW_FORM
    if declaration.code in _FLUSHES and len(record.input) >= declaration.header.size:
        flags = declaration.header.unpack_named(record.input)["flags"]
        if flags & FlushFlags.USE_EXTENDED_RANGE_FORMAT:
            yield Mark.EXTENDED_RANGES
        if flags & FlushFlags.USE_TARGET_VTL:
            yield Mark.FLUSH_OF_ANOTHER_VTL


def marks_of_access(event: MsrEvent) -> Iterator[Mark]:
    """Return the marks of an access to an MSR that did not fault."""
    index, value = event.index, event.value
    if event.fault:
        return
    if index in _X2APIC:
        yield Mark.X2APIC_MSR
    if not event.write:
        return
    if index in PAGE_MSRS and ENABLE.get(value):
        yield Mark.PAGE_ENABLED
    if index == SyntheticMsr.HYPERCALL and LOCKED.get(value):
        yield Mark.LOCKED_HYPERCALL_MSR
    elif index in _SINTS:
        if SINT_POLLING.get(value):
            yield Mark.POLLED_SINT
        elif not SINT_MASKED.get(value):
            automatic = SINT_AUTO_EOI.get(value)
            yield Mark.SINT_WITH_AUTO_EOI if automatic else Mark.SINT_WITHOUT_AUTO_EOI
    elif index in _TIMERS and value:
        yield Mark.DIRECT_TIMER if STIMER_DIRECT_MODE.get(value) else Mark.MESSAGE_TIMER
