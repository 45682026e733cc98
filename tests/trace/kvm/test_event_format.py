import pytest
from tests.trace.kvm.recordings import HEADER_PAGE, HYPERCALL, OLD_HYPERCALL, POINTS

from hypercall.errors import InputError
from hypercall.trace.kvm.event_format import (
    PageFormat,
    RecordField,
    common_offsets,
    layouts,
    parse_event,
    parse_fields,
    parse_page,
)
from hypercall.trace.kvm.scan import Kind


def test_an_event() -> None:
    event = parse_event(HYPERCALL.format)
    assert event is not None
    assert (event.name, event.number) == ("kvm_hv_hypercall", 113)
    assert event.fields["common_pid"] == RecordField(4, 4, True)
    assert event.fields["outgpa"] == RecordField(24, 8, False)
    assert event.fields["fast"] == RecordField(36, 1, False)


def test_fields_that_are_arrays_or_lack_a_sign() -> None:
    text = b"\tfield:__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;\n"
    text += b"\tfield:char comm[16];\toffset:12;\tsize:16;\n\tfield:broken;\n"
    assert parse_fields(text) == {
        "name": RecordField(8, 4, False),
        "comm": RecordField(12, 16, False),
    }


@pytest.mark.parametrize("text", [b"", b"name: x\n", b"ID: 5\n", b"name: x\nID: 70000\n", b"\xff"])
def test_what_describes_no_event(text: bytes) -> None:
    assert parse_event(text) is None


def test_layouts_follow_the_description() -> None:
    events = [parse_event(point.format) for point in POINTS.values()]
    found = {kind: (number, fields) for number, kind, fields in layouts([e for e in events if e])}
    assert set(found) == set(Kind)
    number, fields = found[Kind.HYPERCALL]
    assert number == 113
    assert fields == [
        (0, 32, 2, False),
        (1, 36, 1, False),
        (2, 34, 2, False),
        (3, 8, 2, False),
        (4, 10, 2, False),
        (5, 16, 8, False),
        (6, 24, 8, False),
    ]


def test_a_field_that_older_kernels_lack_is_left_out() -> None:
    event = parse_event(OLD_HYPERCALL.format)
    assert event is not None
    ((_, _, fields),) = layouts([event])
    assert [number for number, *_ in fields] == [0, 1, 3, 4, 5, 6]


def test_an_event_without_a_field_that_it_must_have_is_left_out() -> None:
    event = parse_event(HYPERCALL.format.replace(b" code;", b" other;"))
    assert event is not None
    assert layouts([event]) == []


def test_the_page() -> None:
    assert parse_page(HEADER_PAGE) == PageFormat(8, 8, 16, 4096)


@pytest.mark.parametrize(
    "changed",
    [
        (b"commit", b"other"),
        (b"data;\toffset:16", b"data;\toffset:4"),
        (b"size:4080", b"size:4"),
        (b"size:4080", b"size:2999999"),
        (b"commit;\toffset:8;\tsize:8", b"commit;\toffset:8;\tsize:3"),
    ],
)
def test_a_page_that_makes_no_sense(changed: tuple[bytes, bytes]) -> None:
    with pytest.raises(InputError):
        parse_page(HEADER_PAGE.replace(*changed))


def test_common_fields() -> None:
    event = parse_event(HYPERCALL.format)
    assert event is not None
    assert common_offsets([event]) == (0, 4)
    with pytest.raises(InputError, match="common_type"):
        common_offsets([])
