"""A kernel's descriptions of its trace records: ``events/*/format`` and ``header_page``.

A line of them reads ``field:u64 result;<tab>offset:8;<tab>size:8;<tab>signed:0;``. Source: Linux,
``Documentation/trace/events.rst``, section 5.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hypercall.errors import InputError
from hypercall.trace.kvm.tracepoints import TRACEPOINTS

_NAME = re.compile(rb"^name: *(\S+)", re.MULTILINE)
_NUMBER = re.compile(rb"^ID: *(\d{1,5})\s*$", re.MULTILINE)
_FIELD = re.compile(
    rb"field: *[^;\n]*?(\w+)(?:\[[^\]\n]*\])?;\s*offset:(\d{1,6});\s*size:(\d{1,6});"
    rb"(?:\s*signed:([01]);)?"
)
_SIZES = (1, 2, 4, 8)
_LARGEST_PAGE = 1 << 20

Layout = tuple[int, int, list[tuple[int, int, int, bool]]]
"""An event's number, the kind of its tracepoint, and its fields: number, offset, size, sign."""


@dataclass(frozen=True, slots=True)
class RecordField:
    """Where a field lies.

    Attributes:
        offset: bytes from the start of the record.
        size: bytes.
        signed: whether it has a sign.
    """

    offset: int
    size: int
    signed: bool


@dataclass(frozen=True, slots=True)
class EventFormat:
    """The description of one event.

    Attributes:
        name: its name.
        number: by which its records are known.
        fields: by name.
    """

    name: str
    number: int
    fields: dict[str, RecordField]


@dataclass(frozen=True, slots=True)
class PageFormat:
    """How a page of the ring buffer begins.

    Attributes:
        commit_offset: where its length is.
        commit_size: bytes of that, 4 or 8.
        data_offset: where its records begin.
        size: bytes of the whole page.
    """

    commit_offset: int
    commit_size: int
    data_offset: int
    size: int


def parse_fields(text: bytes) -> dict[str, RecordField]:
    """Return the fields of a description; lines that describe none are passed over."""
    return {
        match[1].decode("ascii", "replace"): RecordField(
            int(match[2]), int(match[3]), match[4] == b"1"
        )
        for match in _FIELD.finditer(text)
    }


def parse_event(text: bytes) -> EventFormat | None:
    """Return the event that a description is of, or None where it is none."""
    name, number = _NAME.search(text), _NUMBER.search(text)
    if name is None or number is None or int(number[1]) > 0xFFFF:
        return None
    return EventFormat(name[1].decode("ascii", "replace"), int(number[1]), parse_fields(text))


def parse_page(text: bytes) -> PageFormat:
    """Return how pages begin.

    Raises:
        InputError: the description has not the fields that it must have, or absurd ones.
    """
    fields = parse_fields(text)
    commit, data = fields.get("commit"), fields.get("data")
    if commit is None or data is None:
        raise InputError("its description of ring buffer pages lacks the fields commit and data")
    size = data.offset + data.size
    if (
        commit.size not in (4, 8)
        or not 8 <= commit.offset <= data.offset - commit.size
        or not 64 <= size <= _LARGEST_PAGE
        or data.size < 16
    ):
        raise InputError("its description of ring buffer pages makes no sense")
    return PageFormat(commit.offset, commit.size, data.offset, size)


def layouts(formats: list[EventFormat]) -> list[Layout]:
    """Return what the scanner needs to read the records of KVM's tracepoints.

    A tracepoint whose description lacks a field that it must have is left out.
    """
    points = {point.name: point for point in TRACEPOINTS}
    found: list[Layout] = []
    for each in formats:
        point = points.get(each.name)
        if point is None:
            continue
        fields, complete = [], True
        for number, wanted in enumerate(point.fields):
            field = next((each.fields[name] for name in wanted.names if name in each.fields), None)
            if field is not None and field.size in _SIZES:
                fields.append((number, field.offset, field.size, field.signed))
            elif wanted.required:
                complete = False
        if complete:
            found.append((each.number, point.kind, fields))
    return found


def common_offsets(formats: list[EventFormat]) -> tuple[int, int]:
    """Return where every record has its event's number and its thread.

    Raises:
        InputError: no description says it.
    """
    for each in formats:
        kind, pid = each.fields.get("common_type"), each.fields.get("common_pid")
        if kind is not None and pid is not None and (kind.size, pid.size) == (2, 4):
            return kind.offset, pid.offset
    raise InputError("it describes no event with the fields common_type and common_pid")
