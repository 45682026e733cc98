"""Where a call's parameter lists lie: alignment, pages, overlap (TLFS ``hypercall-interface``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hypercall.abi.record import CallRecord
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.declaration import CallDeclaration

_PAGE = 4096
_SECTION = "hypercall-interface, Hypercall Inputs and Hypercall Outputs"

OVERLAP = Rule(
    "parameter-overlap",
    Severity.ERROR,
    Source.EVENTS,
    "The input and the output list of a call share bytes.",
    "The hypervisor may write output before it has read all input. Hosts answer differently:"
    " some refuse the call, some take what they have just written for input.",
    _SECTION,
)
ALIGNMENT = Rule(
    "parameter-alignment",
    Severity.ERROR,
    Source.EVENTS,
    "A parameter list does not begin at a multiple of 8.",
    "Such a call is refused with INVALID_ALIGNMENT, though not on every host.",
    _SECTION,
)
PAGE_CROSSING = Rule(
    "parameter-page-crossing",
    Severity.ERROR,
    Source.EVENTS,
    "A parameter list goes on into the next page.",
    "Guest-physical pages that follow one another need not belong together. Such a call is refused"
    " on some hosts, and on others it works until an overlay or a permission differs.",
    _SECTION,
)


class Lists(NamedTuple):
    """The sizes of a call's parameter lists in bytes, 0 for none."""

    input: int
    output: int


def list_sizes(declaration: CallDeclaration, control: int) -> Lists:
    """Return how long the lists are that a control word asks for."""
    word = ControlWord.parse(control)
    units = word.variable_header_size if declaration.variable_header is not None else 0
    reps = word.rep_count if declaration.is_rep else 0
    return Lists(declaration.input_size(units, reps), declaration.output_size(reps))


def has_whole_input(record: CallRecord) -> bool:
    """Return whether a record has all input of its call; not if that cannot be known."""
    declaration = record.declaration
    return (
        declaration is not None
        and len(record.input) >= list_sizes(declaration, record.control).input
    )


def check_placement(record: CallRecord) -> Iterator[tuple[Rule, str]]:
    """Yield what is wrong with the places of a call's lists."""
    declaration = record.declaration
    if declaration is None or record.fast:
        return
    sizes = list_sizes(declaration, record.control)
    lists = (
        ("input", record.input_register, sizes.input),
        ("output", record.output_register, sizes.output),
    )
    name = declaration.name
    for what, gpa, size in lists:
        if not size:
            continue
        if gpa & 7:
            yield ALIGNMENT, f"{name} has its {what} list at {gpa:#x}, which is no multiple of 8."
        if (gpa & _PAGE - 1) + size > _PAGE:
            yield (
                PAGE_CROSSING,
                f"{name} has its {what} list of {size} bytes at {gpa:#x}, across a page's end.",
            )
    if sizes.input and sizes.output:
        first, second = record.input_register, record.output_register
        if first < second + sizes.output and second < first + sizes.input:
            yield (
                OVERLAP,
                f"{name} has its input list of {sizes.input} bytes at {first:#x} and its output"
                f" list of {sizes.output} bytes at {second:#x}.",
            )
