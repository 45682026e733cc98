"""Calls that could be cheaper: parameters in memory that fit into registers, flushes too large."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypercall.abi.record import CallRecord
from hypercall.checks.placement import list_sizes
from hypercall.checks.rule import Need, Rule, Severity, Source
from hypercall.tlfs.call_flags import FlushFlags
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.declaration import CallClass, FastForm
from hypercall.tlfs.gva_range import ranges
from hypercall.tlfs.layout import FieldKind

SLOW_FORM = Rule(
    "slow-form",
    Severity.ADVICE,
    Source.EVENTS,
    "A call has its input in memory although all of it fits into two registers.",
    "The fast form saves the hypervisor the look-up of the page and the copy, and the guest a page"
    " that it must own and keep interrupts away from.",
    "hypercall-interface, Register Mapping for Hypercall Inputs When the Fast Flag Is Set",
)
OVERSIZED_FLUSH = Rule(
    "oversized-flush",
    Severity.ADVICE,
    Source.EVENTS,
    "A flush drops far more than is needed: all address spaces although one is named, the same"
    " pages more than once, or a list of more than 256 MiB.",
    "Every translation that goes without need is walked for again. A list longer than a processor"
    " could hold costs more than a flush of the whole address space.",
    "hypercalls/HvCallFlushVirtualAddressList; hypercalls/HvCallFlushVirtualAddressSpace",
    needs=(Need.INPUT,),
)

_TWO_REGISTERS = 16
_MANY_PAGES = 0x10000


def check_form(record: CallRecord) -> Iterator[tuple[Rule, str]]:
    """Yield whether a call could be made in registers."""
    declaration = record.declaration
    if (
        declaration is None
        or record.fast
        or declaration.fast is FastForm.NO
        or declaration.call_class is not CallClass.SIMPLE
        or declaration.variable_input is not None
        or declaration.variable_output is not None
    ):
        return
    sizes = list_sizes(declaration, record.control)
    if 0 < sizes.input <= _TWO_REGISTERS and not sizes.output:
        yield (
            SLOW_FORM,
            f"{declaration.name} has its {sizes.input} bytes of input in memory, and RDX and R8"
            " would hold them.",
        )


def check_flush_size(record: CallRecord) -> Iterator[tuple[Rule, str]]:
    """Yield whether a flush is larger than what it names needs."""
    declaration = record.declaration
    if declaration is None or "address_space" not in declaration.header.field_names:
        return
    header = declaration.header
    data = record.input
    if "flags" not in header.field_names or len(data) < header.size:
        return
    values = header.unpack_named(data)
    flags, space = values["flags"], values["address_space"]
    if flags & FlushFlags.ALL_VIRTUAL_ADDRESS_SPACES and space:
        yield (
            OVERSIZED_FLUSH,
            f"{declaration.name} names the address space {space:#x}, and by its flags flushes all"
            " of them.",
        )
    element = declaration.element
    if element is None or element.values[0].kind is not FieldKind.GVA_RANGE:
        return
    word = ControlWord.parse(record.control)
    start = header.size
    if declaration.variable_header is not None:
        start += 8 * word.variable_header_size
    end = start + 8 * word.rep_count
    if word.rep_start or end > len(data) or end == start:
        return
    extended = bool(flags & FlushFlags.USE_EXTENDED_RANGE_FORMAT)
    listed = ranges(data[start:end], extended)
    pages = sum(count for _, count in listed)
    if pages > _MANY_PAGES:
        yield (
            OVERSIZED_FLUSH,
            f"{declaration.name} lists {pages} pages; a flush of the address space is less work.",
        )
        return
    if len(listed) > 1:
        ordered = sorted(listed)
        for (first, count), (second, _) in pairwise(ordered):
            if second < first + count * 4096:
                yield (
                    OVERSIZED_FLUSH,
                    f"{declaration.name} lists the page at {second:#x} more than once.",
                )
                return
