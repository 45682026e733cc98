import io
import os

import pytest

from hypercall.trace.blocks import blocks, pieces, reads


def blocks_of(parts: list[bytes], longest: int, start: bytes = b"") -> list[bytes | int]:
    found = blocks(pieces(parts), longest, start)
    return [block if isinstance(block, int) else bytes(block) for block in found]


def test_blocks_end_with_lines() -> None:
    assert blocks_of([b"one\ntw", b"o\nthree\nfo", b"ur"], 100) == [
        b"one\n",
        b"two\nthree\n",
        b"four",
    ]


def test_nothing_gives_nothing() -> None:
    assert blocks_of([], 100) == []


def test_a_line_without_end_is_left_out() -> None:
    long = b"x" * (101)
    assert blocks_of([b"a\n", long, long, b"y\nb\n"], 100) == [b"a\n", 204, b"b\n"]
    assert blocks_of([b"a\n", long, b"end"], 100) == [b"a\n", 104]


@pytest.mark.parametrize("longest", [100, 3_000_000])
def test_lines_longer_than_what_is_read_at_once(longest: int) -> None:
    long = b"x" * 1_000_000
    found = blocks_of([b"a\n", long, long + b"\nb\n"], longest)
    if longest == 100:
        assert found == [b"a\n", 2_000_001, b"b\n"]
    else:
        assert (
            b"".join(block for block in found if isinstance(block, bytes))
            == b"a\n" + long * 2 + b"\nb\n"
        )


def test_what_comes_before() -> None:
    assert blocks_of([b"o\nthree"], 100, b"one\ntw") == [b"one\n", b"two\n", b"three"]
    assert blocks_of([], 100, b"one") == [b"one"]
    assert blocks_of([], 2, b"one\n" * 300_000) == [b"one\n" * 300_000]


def test_a_stream_is_read_to_its_end() -> None:
    data = bytes(range(256)) * 10_000
    found = blocks(reads(io.BytesIO(data)), 1000)
    assert b"".join(bytes(block) for block in found if not isinstance(block, int)) == data


def test_a_pipe_gives_what_it_has() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"one\ntwo\nthr")
    with open(reading, "rb") as stream:
        found = blocks(reads(stream), 100)
        assert bytes(next(found)) == b"one\ntwo\n"
        os.write(writing, b"ee\n")
        os.close(writing)
        assert [bytes(block) for block in found] == [b"three\n"]


def test_pieces_fill_what_there_is_room_for() -> None:
    large = bytes(range(256)) * 10_000
    read = pieces([memoryview(b"ab"), b"", large])
    found = bytearray()
    room = memoryview(bytearray(1000))
    while count := read(room):
        found += room[:count]
    assert bytes(found) == b"ab" + large
