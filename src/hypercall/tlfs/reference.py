"""The reference of the calls, made from their declarations: words for people, pages as Markdown.

A page has two parts that people write, "Semantics" and "What is known"; making the page anew keeps
them.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from hypercall.tlfs.declaration import (
    MAX_REGISTER_BYTES,
    CallDeclaration,
    FastForm,
    StatusCondition,
)
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.layout import Field, FieldKind, ReservedRule, Structure

HANDWRITTEN_PARTS = ("Semantics", "What is known")

_PAIR = 16
_TO_BE_WRITTEN = "(to be written)"

_KIND_WORDS = MappingProxyType(
    {
        FieldKind.INTEGER: "number",
        FieldKind.HEX: "number",
        FieldKind.BYTES: "bytes",
        FieldKind.FLAGS: "flags",
        FieldKind.ENUMERATION: "number",
        FieldKind.ADDRESS_SPACE: "address space",
        FieldKind.GPA: "guest-physical address",
        FieldKind.GPA_PAGE: "guest-physical page number",
        FieldKind.GVA_PAGE: "guest-virtual page number",
        FieldKind.GPA_RANGE: "10:0 additional pages, 11 large, 12 size (0 2 MB, 1 1 GB), rest page",
        FieldKind.GVA_RANGE: "11:0 additional pages, 63:12 page; another form by flag",
        FieldKind.PARTITION_ID: "all ones is the caller's own",
        FieldKind.VP_INDEX: "VP index; 0xFFFFFFFE is the caller",
        FieldKind.APIC_ID: "APIC id",
        FieldKind.VP_MASK: "bit i stands for VP index i",
        FieldKind.VP_SET_FORMAT: "format of the set of processors",
        FieldKind.VP_SET_BANKS_MASK: "bit b: bank b, of VP indexes from 64 b on, is given",
        FieldKind.VP_SET_BANKS: "banks of 64 VP indexes",
        FieldKind.HV_VTL: "VTL number",
        FieldKind.HV_INPUT_VTL: "3:0 VTL, 4 use it (else the caller's own), 7:5 must be zero",
        FieldKind.CONNECTION_ID: "connection id, 24 bits",
        FieldKind.MESSAGE_TYPE: "message type",
        FieldKind.REGISTER_NAME: "register name",
        FieldKind.REGISTER_VALUE: "register value",
        FieldKind.SEGMENT: "base u64, limit u32, selector u16, attributes u16",
        FieldKind.TABLE: "6 bytes of padding, limit u16, base u64",
        FieldKind.DURATION: "time in units of 100 ns",
        FieldKind.ZEROED_RANGES: "ranges of pages",
    }
)


def page_name(declaration: CallDeclaration) -> str:
    """Return the file name of a call's page, for example ``005C.md``."""
    return f"{declaration.code:04X}.md"


def input_text(declaration: CallDeclaration) -> str:
    """Say how large the input is, for example ``32 + 8 per bank + 8 per element``."""
    parts = []
    if declaration.header.size:
        parts.append(str(declaration.header.size))
    if declaration.variable_header is not None:
        parts.append("8 per bank")
    if declaration.variable_input is not None:
        parts.append("data")
    if declaration.element is not None:
        parts.append(f"{declaration.element.size} per element")
    return " + ".join(parts) or "none"


def output_text(declaration: CallDeclaration) -> str:
    """Say how large the output is."""
    if declaration.output_element is not None:
        return f"{declaration.output_element.size} per element"
    if declaration.output is None:
        return "none"
    data = " + data" if declaration.variable_output is not None else ""
    return f"{declaration.output.size}{data}"


def fast_text(declaration: CallDeclaration) -> str:
    """Say whether and how parameters can be in registers."""
    if declaration.call_class.name == "VTL_SWITCH":
        return "control input in RAX"
    if declaration.fast is FastForm.NO:
        return "no"
    least_input = declaration.input_size(0, 1)
    needs = []
    if least_input > _PAIR or declaration.variable_header or declaration.element:
        needs.append("input" if least_input > _PAIR else "input above 16 bytes")
    if declaration.output_size(1):
        needs.append("output")
    text = "yes" if not needs else f"yes, XMM for {' and '.join(needs)}"
    reps = max_fast_reps(declaration)
    return f"{text}, at most {reps} elements" if reps else text


def max_fast_reps(declaration: CallDeclaration) -> int:
    """Return the most elements that fit the registers; 0 for a simple call."""
    if not declaration.is_rep or declaration.fast is FastForm.NO:
        return 0
    reps = 0
    while _pairs(declaration.input_size(0, reps + 1)) + _pairs(
        declaration.output_size(reps + 1)
    ) <= _pairs(MAX_REGISTER_BYTES):
        reps += 1
    return reps


def _pairs(size: int) -> int:
    return (size + _PAIR - 1) // _PAIR


def gate_text(declaration: CallDeclaration) -> str:
    """Say what the partition needs, and which CPUID bits announce or recommend the call."""
    parts = []
    if declaration.privilege:
        parts.append(f"privilege {declaration.privilege.text(declaration.privilege)}")
    if declaration.capability:
        names = declaration.capability.text(declaration.capability).replace("|", " or ")
        parts.append(f"extended capability {names}")
    if declaration.nested_feature:
        names = declaration.nested_feature.text(declaration.nested_feature).replace("|", " or ")
        parts.append(f"nested feature {names}")
    if declaration.recommendation:
        names = declaration.recommendation.text(declaration.recommendation).replace("|", " and ")
        parts.append(f"recommended by {names}")
    return "; ".join(parts) or "none"


def field_note(field: Field) -> str:
    """Say in a few words what a field holds."""
    if field.reserved is ReservedRule.MUST_BE_ZERO:
        return "must be zero"
    if field.reserved is ReservedRule.IGNORED:
        return "padding"
    parts = [field.note] if field.note else []
    if field.values is not None:
        parts.append(values_text(field))
    return "; ".join(parts) or _KIND_WORDS[field.kind]


def values_text(field: Field) -> str:
    """List the named bits or values of a field."""
    if field.values is None:
        return ""
    if issubclass(field.values, FlagWord):
        return ", ".join(
            f"{int(member).bit_length() - 1} {name}"
            for name, member in field.values.__members__.items()
        )
    return ", ".join(f"{int(member)} {member.name}" for member in field.values)


def structures_of(declaration: CallDeclaration) -> list[tuple[str, Structure]]:
    """Return the structures of a call with a heading for each, in the order of the lists."""
    found = []
    for heading, structure in (
        ("Input", declaration.header),
        ("Input element", declaration.element),
        ("Output", declaration.output),
        ("Output element", declaration.output_element),
    ):
        if structure is not None and structure.fields:
            found.append((heading, structure))
    return found


def statuses_of(declaration: CallDeclaration) -> list[StatusCondition]:
    """Return the statuses of a call in ascending order of value."""
    return sorted(declaration.statuses, key=lambda each: each.status)


def extra_data_text(declaration: CallDeclaration) -> list[str]:
    """Say what follows the fixed structures."""
    lines = []
    header = declaration.variable_header
    if header is not None:
        lines.append(
            f"Variable header after the input: `{header.name}`, at most {header.maximum} words of 8"
            " bytes, as many as the control word says."
        )
    if declaration.variable_input is not None:
        data = declaration.variable_input
        lines.append(f"After the input: `{data.name}`, `{data.count_field}` bytes.")
    if declaration.variable_output is not None:
        data = declaration.variable_output
        lines.append(f"After the output: `{data.name}`, `{data.count_field}` bytes.")
    return lines


def handwritten(page: str) -> dict[str, str]:
    """Return the parts of a page that people wrote, by heading.

    Args:
        page: the page's text; an empty one has no parts.
    """
    parts = {}
    for section in re.split(r"(?m)^## ", page)[1:]:
        heading, _, body = section.partition("\n")
        if heading.strip() in HANDWRITTEN_PARTS:
            parts[heading.strip()] = body.strip()
    return parts


def render_page(declaration: CallDeclaration, implemented: bool, parts: Mapping[str, str]) -> str:
    """Make a call's page.

    Args:
        declaration: the call.
        implemented: whether it has a handler.
        parts: what people wrote, by heading; a missing part of thin calls is taken from the
            declaration.
    """
    lines = [
        f"# {declaration.name} ({declaration.code:#06x})",
        "",
        declaration.summary,
        "",
        *_table(("", ""), properties_of(declaration, implemented)),
    ]
    for heading, structure in structures_of(declaration):
        lines += ["", f"## {heading}: {structure.name}", ""]
        rows = [
            (str(field.offset), str(field.size), f"`{field.name}`", field_note(field))
            for field in structure.fields
        ]
        lines += _table(("Offset", "Size", "Field", "Meaning"), rows)
    for text in extra_data_text(declaration):
        lines += ["", text]
    if declaration.statuses:
        lines += ["", "## Statuses", ""]
        lines.append(
            "Beside INVALID_HYPERCALL_CODE, INVALID_HYPERCALL_INPUT and INVALID_ALIGNMENT, which"
            " every call can have:"
        )
        lines.append("")
        rows = [
            (f"{int(each.status):#04x}", each.status.name, each.when, each.source)
            for each in statuses_of(declaration)
        ]
        lines += _table(("Value", "Name", "When", "Source"), rows)
    defaults = {
        "Semantics": _TO_BE_WRITTEN,
        "What is known": declaration.known or f"Described in {declaration.section}.",
    }
    for heading in HANDWRITTEN_PARTS:
        lines += ["", f"## {heading}", "", parts.get(heading) or defaults[heading]]
    return "\n".join(lines) + "\n"


def properties_of(declaration: CallDeclaration, implemented: bool) -> list[tuple[str, str]]:
    """Return what there is to say about a call in pairs of name and text."""
    rows = [
        ("Class", declaration.call_class.value),
        ("Family", declaration.family.value),
        ("Input, bytes", input_text(declaration)),
        ("Output, bytes", output_text(declaration)),
        ("Register form", fast_text(declaration)),
        ("Gate", gate_text(declaration)),
        ("Section", declaration.section),
        ("Implemented", "yes" if implemented else "not yet"),
    ]
    if declaration.max_reps_in_page:
        rows.insert(4, ("Elements in a page", f"at most {declaration.max_reps_in_page}"))
    return rows


def render_index(declarations: Iterable[CallDeclaration], implemented: Collection[int]) -> str:
    """Make the page that lists all calls.

    Args:
        declarations: the calls in order of their codes.
        implemented: the codes of those that have a handler.
    """
    every = list(declarations)
    lines = [
        "# The calls",
        "",
        "One page for each call. The tables are made from the declarations in `hypercall.tlfs` by"
        ' `script/call-pages`; the parts "Semantics" and "What is known" are written by hand.',
        "`hypercall calls NAME` shows the same without the handwritten parts.",
        "",
        *_index_table([each for each in every if each.in_reference_table], implemented),
        "",
        "## Beside the reference table",
        "",
        *_index_table([each for each in every if not each.in_reference_table], implemented),
    ]
    return "\n".join(lines) + "\n"


def _index_table(
    declarations: Iterable[CallDeclaration], implemented: Collection[int]
) -> list[str]:
    rows = [
        (
            f"[{declaration.code:#06x}]({page_name(declaration)})",
            declaration.name,
            declaration.call_class.value,
            declaration.family.value,
            "yes" if declaration.code in implemented else "not yet",
            declaration.summary,
        )
        for declaration in declarations
    ]
    return _table(("Code", "Name", "Class", "Family", "Implemented", "What it does"), rows)


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return lines
