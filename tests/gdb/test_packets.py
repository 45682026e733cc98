import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.gdb.packets import (
    MOST_PAYLOAD,
    PacketReader,
    Signal,
    checksum,
    escape,
    frame,
    unescape,
)


def test_a_payload_is_framed_with_its_checksum() -> None:
    assert frame(b"OK") == b"$OK#9a"
    assert frame(b"") == b"$#00"
    assert checksum(b"\xff\xff") == 0xFE


@given(st.binary(max_size=200))
def test_what_is_escaped_comes_back(data: bytes) -> None:
    payload = escape(data)
    assert not {b"$", b"#", b"*"} & {bytes([byte]) for byte in payload}
    assert unescape(payload) == data
    assert PacketReader().feed(frame(payload)) == [payload]


@given(st.lists(st.binary(max_size=40).map(escape), max_size=5), st.randoms())
def test_packets_come_whole_from_any_pieces(payloads: list[bytes], source: random.Random) -> None:
    stream = b"+".join(frame(payload) for payload in payloads)
    reader = PacketReader()
    found = []
    while stream:
        size = source.randrange(1, 9)
        found += reader.feed(stream[:size])
        stream = stream[size:]
    assert [item for item in found if isinstance(item, bytes)] == payloads


def test_signals_between_packets() -> None:
    found = PacketReader().feed(b"+\x03-$g#67\x03garbage\xff$?#3f")
    assert found == [
        *(Signal.ACKNOWLEDGED, Signal.INTERRUPT, Signal.REPEAT),
        *(b"g", Signal.INTERRUPT, b"?"),
    ]


def test_a_0x03_within_a_packet_is_data() -> None:
    assert PacketReader().feed(frame(b"X0,1:\x03")) == [b"X0,1:\x03"]


@pytest.mark.parametrize("sum_of_it", [b"00", b"zz", b"-1", b"+7", b" 7", b"6G"])
def test_a_wrong_checksum_is_damage(sum_of_it: bytes) -> None:
    reader = PacketReader()
    assert reader.feed(b"$g#" + sum_of_it) == [Signal.DAMAGED]
    assert reader.feed(b"$g#67") == [b"g"]


def test_a_packet_that_breaks_off_is_forgotten() -> None:
    assert PacketReader().feed(b"$m1000,4$g#67") == [b"g"]


def test_too_long_a_packet_is_damage_and_takes_no_memory() -> None:
    reader = PacketReader()
    assert reader.feed(frame(b"x" * MOST_PAYLOAD)) == [b"x" * MOST_PAYLOAD]
    assert reader.feed(b"$") == []
    for _ in range(50):
        assert reader.feed(b"x" * MOST_PAYLOAD) == []
        assert len(reader._payload or b"") <= MOST_PAYLOAD
    assert reader.feed(b"#00$g#67") == [Signal.DAMAGED, b"g"]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_bytes_are_taken(pieces: list[bytes]) -> None:
    reader = PacketReader()
    for piece in pieces:
        reader.feed(piece)


def test_an_escape_at_the_end_stands_for_nothing() -> None:
    assert unescape(b"a}") == b"a"
