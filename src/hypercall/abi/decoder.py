"""From the bytes of a hypercall to named values; whatever a guest passed can be shown.

A truncated input gives the fields that are there, an unknown code its registers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import unpack_from
from typing import Any

from hypercall.abi.record import CallRecord
from hypercall.abi.values import (
    bytes_text,
    field_text,
    mask_text,
    page_ranges_text,
    register_value_text,
)
from hypercall.tlfs.call_flags import FlushFlags, InterruptTargetFlags, VpSetFormat
from hypercall.tlfs.calls import Call
from hypercall.tlfs.control import ControlWord, ResultValue
from hypercall.tlfs.declaration import CallDeclaration
from hypercall.tlfs.gva_range import range_text
from hypercall.tlfs.layout import FieldKind, Structure
from hypercall.tlfs.registers import register_text
from hypercall.tlfs.status import status_text
from hypercall.tlfs.vp_set import sparse_bitmap

UNKNOWN = "?"
"""The text of a field that the trace does not tell."""

_SHOWN_ELEMENTS = 16

_SET_FIELDS = frozenset({FieldKind.VP_SET_FORMAT, FieldKind.VP_SET_BANKS_MASK})


@dataclass(slots=True)
class DecodedValue:
    """A named value.

    Attributes:
        name: the field's name; the plural of it for a list of elements.
        value: the number or bytes, or a list of them; None where it is not known.
        text: for people.
    """

    name: str
    value: Any
    text: str


@dataclass(slots=True)
class DecodedCall:
    """A call taken apart.

    Attributes:
        name: the TLFS's name, or ``unknown call 0xbeef``.
        code: the call code.
        control: the control word taken apart.
        arguments: input values in their order.
        outputs: output values in their order; empty when nothing was written.
        status: the result's status number, or None without a result.
        status_text: the status by name, with the reps completed of a rep call; empty without one.
        reps_completed: of the result.
    """

    name: str
    code: int
    control: ControlWord
    arguments: list[DecodedValue] = field(default_factory=list)
    outputs: list[DecodedValue] = field(default_factory=list)
    status: int | None = None
    status_text: str = ""
    reps_completed: int = 0


def decode_call(record: CallRecord) -> DecodedCall:
    """Take a call apart.

    Args:
        record: the attempt; its input and output may be shorter or longer than declared.
    """
    declaration = record.declaration
    control = ControlWord.parse(record.control)
    name = declaration.name if declaration else f"unknown call {control.code:#06x}"
    decoded = DecodedCall(name, control.code, control)
    if declaration is None:
        decoded.arguments = _registers(record, ["input", "output"])
    elif not record.input and not record.fast:
        # The lists were not read, or there is none: their addresses are what there is to show.
        has_list = (declaration.input_size(0, 1), declaration.output_size(1))
        names = ["input_gpa" if has_list[0] else "", "output_gpa" if has_list[1] else ""]
        decoded.arguments = _registers(record, names)
    else:
        decoded.arguments = _arguments(declaration, control, record.input, record.unknown)
    if declaration is not None and record.output:
        decoded.outputs = _outputs(declaration, control, record)
    if record.result is not None:
        result = ResultValue.parse(record.result)
        decoded.status = result.status
        decoded.reps_completed = result.reps_completed
        decoded.status_text = result_text(record.result, declaration)
    return decoded


def result_text(result: int, declaration: CallDeclaration | None = None) -> str:
    """Write a result word: the status by name, and the reps completed where they mean something.

    Args:
        result: 64 bits.
        declaration: the call, if it is known.
    """
    value = ResultValue.parse(result)
    text = status_text(value.status)
    if value.reps_completed or (declaration is not None and declaration.is_rep):
        reps = value.reps_completed
        text += f", {reps} rep{'s' if reps != 1 else ''}"
    return text


def _registers(record: CallRecord, names: list[str]) -> list[DecodedValue]:
    """Show the two registers under the names given; one without a name is left out."""
    values = (record.input_register, record.output_register)
    return [
        DecodedValue(name, value, f"{value:#x}")
        for name, value in zip(names, values, strict=True)
        if name
    ]


def _arguments(
    declaration: CallDeclaration, control: ControlWord, data: bytes, unknown: tuple[str, ...]
) -> list[DecodedValue]:
    header = declaration.header
    values = _partial_unpack(header, data)
    by_name = dict(zip(header.field_names, values, strict=False))
    end = header.size + 8 * control.variable_header_size
    variable = data[header.size : end] if declaration.variable_header else b""
    arguments = []
    for each, value in zip(header.values, values, strict=False):
        if each.name in unknown:
            arguments.append(DecodedValue(each.name, None, UNKNOWN))
            continue
        if each.kind in _SET_FIELDS:
            if each.kind is FieldKind.VP_SET_FORMAT:
                arguments += _processor_set(by_name, variable, control)
            continue
        if each.name == "processor_mask_or_format":
            arguments += _interrupt_target(by_name, variable, control)
            continue
        if each.name == "payload":
            value = value[: by_name["payload_size"]]
        arguments.append(DecodedValue(each.name, value, field_text(each, value)))
    if len(values) < len(header.values):
        arguments.append(DecodedValue("truncated", len(data), f"{len(data)} bytes"))
        return arguments
    if len(data) < end and declaration.variable_header is not None:
        arguments.append(DecodedValue("truncated", len(data), f"{len(data)} bytes"))
        return arguments
    if declaration.variable_input is not None:
        more = data[header.size :]
        arguments.append(DecodedValue(declaration.variable_input.name, more, bytes_text(more)))
    if declaration.element is not None:
        if control.rep_start:
            arguments.append(DecodedValue("rep_start", control.rep_start, str(control.rep_start)))
        start = end if declaration.variable_header else header.size
        extended = bool(by_name.get("flags", 0) & FlushFlags.USE_EXTENDED_RANGE_FORMAT)
        writer = _element_writer(declaration.element, extended)
        arguments.append(_elements(declaration.element, data[start:], control.rep_count, writer))
    return arguments


def _partial_unpack(structure: Structure, data: bytes) -> list[Any]:
    """Return the values of the fields that the data holds completely."""
    present = sum(1 for each in structure.values if each.offset + each.size <= len(data))
    whole = structure.unpack(bytes(data[: structure.size]).ljust(structure.size, b"\0"))
    return list(whole[:present])


def _processor_set(
    header: dict[str, Any], variable: bytes, control: ControlWord
) -> list[DecodedValue]:
    """Show a VP set as a set, or its parts where they do not make one."""
    form = header["format"]
    mask = header.get("valid_banks_mask")
    if form == VpSetFormat.ALL:
        return [DecodedValue("processors", None, "all")]
    bitmap = None
    if form == VpSetFormat.SPARSE_4K and mask is not None:
        bitmap = sparse_bitmap(mask, variable) if len(variable) % 8 == 0 else None
    if bitmap is not None and len(variable) == 8 * control.variable_header_size:
        return [DecodedValue("processors", bitmap, mask_text(bitmap))]
    parts = [DecodedValue("format", form, f"{form:#x}")]
    if mask is not None:
        parts.append(DecodedValue("valid_banks_mask", mask, f"{mask:#x}"))
    if variable or not control.variable_header_size:
        parts.append(DecodedValue("banks", variable, _words_text(variable)))
    return parts


def _interrupt_target(
    header: dict[str, Any], variable: bytes, control: ControlWord
) -> list[DecodedValue]:
    """Show the processors of a device interrupt: a mask, or a set whose format comes first."""
    word = header["processor_mask_or_format"]
    if not header["target_flags"] & InterruptTargetFlags.PROCESSOR_SET:
        return [DecodedValue("processor_mask", word, mask_text(word))]
    mask = unpack_from("<Q", variable)[0] if len(variable) >= 8 else None
    inner = ControlWord(control.code, variable_header_size=max(control.variable_header_size - 1, 0))
    return _processor_set({"format": word, "valid_banks_mask": mask}, variable[8:], inner)


def _words_text(data: bytes) -> str:
    words = unpack_from(f"<{len(data) // 8}Q", data)
    return "[" + ", ".join(f"{word:#x}" for word in words) + "]"


def _element_writer(structure: Structure, extended: bool) -> Callable[[tuple[Any, ...]], str]:
    if structure.values[0].kind is FieldKind.GVA_RANGE:
        return lambda values: range_text(values[0], extended)
    if len(structure.values) == 1:
        return lambda values: field_text(structure.values[0], values[0])
    # The one element of two values: a register and what it is set to.
    return lambda values: f"{register_text(values[0])}={register_value_text(*values)}"


def _elements(
    structure: Structure, data: bytes, count: int, writer: Callable[[tuple[Any, ...]], str]
) -> DecodedValue:
    """Show a list of elements: the first ones, and how many there are more."""
    present = min(count, len(data) // structure.size)
    values = [structure.unpack(data, structure.size * number) for number in range(present)]
    texts = [writer(each) for each in values[:_SHOWN_ELEMENTS]]
    if count > len(texts):
        texts.append(f"and {count - len(texts)} more")
    plain = [each[0] if len(each) == 1 else each for each in values]
    return DecodedValue(f"{structure.field_names[0]}s", plain, "[" + ", ".join(texts) + "]")


def _outputs(
    declaration: CallDeclaration, control: ControlWord, record: CallRecord
) -> list[DecodedValue]:
    data = record.output
    if declaration.output_element is not None:
        element = declaration.output_element
        count = len(data) // element.size
        if declaration.code == Call.GET_VP_REGISTERS:
            return [_read_registers(declaration, control, record.input, data)]
        writer = _element_writer(element, extended=False)
        return [_elements(element, data, count, writer)]
    structure = declaration.output
    if structure is None:
        return []
    values = _partial_unpack(structure, data)
    by_name = dict(zip(structure.field_names, values, strict=False))
    outputs = []
    for each, value in zip(structure.values, values, strict=False):
        if each.kind is FieldKind.ZEROED_RANGES:
            text = page_ranges_text(value, by_name["range_count"])
        else:
            text = field_text(each, value)
        outputs.append(DecodedValue(each.name, value, text))
    if declaration.variable_output is not None:
        more = data[structure.size :]
        outputs.append(DecodedValue(declaration.variable_output.name, more, bytes_text(more)))
    return outputs


def _read_registers(
    declaration: CallDeclaration, control: ControlWord, data: bytes, output: bytes
) -> DecodedValue:
    """Show values of registers beside the names that the input asked for."""
    assert declaration.element is not None
    start = declaration.header.size + control.rep_start * declaration.element.size
    names = unpack_from(f"<{max(len(data) - start, 0) // 4}I", data, min(start, len(data)))
    values = [output[at : at + 16] for at in range(0, len(output) - 15, 16)]
    texts = [
        f"{register_text(name)}={register_value_text(name, value)}"
        for name, value in zip(names, values, strict=False)
    ]
    if len(texts) > _SHOWN_ELEMENTS:
        texts[_SHOWN_ELEMENTS:] = [f"and {len(texts) - _SHOWN_ELEMENTS} more"]
    return DecodedValue("register_values", values, "[" + ", ".join(texts) + "]")
