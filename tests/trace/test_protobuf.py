import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto

from hypercall.trace.protobuf import (
    bytes_field,
    fixed64_field,
    number_field,
    text_field,
    varint,
)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8001"),
        (150, "9601"),
        ((1 << 64) - 1, "ff" * 9 + "01"),
    ],
)
def test_numbers_in_groups_of_seven_bits(value: int, encoded: str) -> None:
    assert varint(value).hex() == encoded


@given(st.integers(0, (1 << 64) - 1), st.text(st.characters(codec="utf-8")))
def test_another_implementation_reads_the_same(value: int, text: str) -> None:
    event = proto.TrackEvent()
    event.ParseFromString(fixed64_field(47, value) + number_field(11, value) + text_field(23, text))
    assert (list(event.flow_ids), event.track_uuid, event.name) == ([value], value, text)


def test_messages_are_bytes_within() -> None:
    trace = proto.Trace()
    trace.ParseFromString(bytes_field(1, number_field(8, 300)) + bytes_field(1, b""))
    assert [packet.timestamp for packet in trace.packet] == [300, 0]


def test_text_that_is_none_is_still_text() -> None:
    assert text_field(1, "a\ud800") == b"\x0a\x02a?"
