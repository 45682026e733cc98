import io

from hypercall.trace.blocks import blocks, reads


def test_blocks_end_with_lines() -> None:
    assert list(blocks([b"one\ntw", b"o\nthree\nfo", b"ur"], 100)) == [
        b"one\n",
        b"two\nthree\n",
        b"four",
    ]


def test_nothing_gives_nothing() -> None:
    assert list(blocks([], 100)) == []


def test_a_line_without_end_is_left_out() -> None:
    long = b"x" * (101)
    assert list(blocks([b"a\n", long, long, b"y\nb\n"], 100)) == [b"a\n", None, b"b\n"]
    assert list(blocks([b"a\n", long, b"end"], 100)) == [b"a\n", None]


def test_reading_part_by_part() -> None:
    assert b"".join(reads(io.BytesIO(b"x" * 3_000_000))) == b"x" * 3_000_000
