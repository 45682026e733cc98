import io

import pytest

from hypercall.trace.kvm.text import LONGEST_LINE, blocks, looks_like_text, parts, reads


def test_blocks_end_with_lines() -> None:
    assert list(blocks([b"one\ntw", b"o\nthree\nfo", b"ur"])) == [
        b"one\n",
        b"two\nthree\n",
        b"four",
    ]


def test_nothing_gives_nothing() -> None:
    assert list(blocks([])) == []


def test_a_line_without_end_is_left_out() -> None:
    long = b"x" * (LONGEST_LINE + 1)
    assert list(blocks([b"a\n", long, long, b"y\nb\n"])) == [b"a\n", None, b"b\n"]
    assert list(blocks([b"a\n", long, b"end"])) == [b"a\n", None]


def test_reading_part_by_part() -> None:
    assert b"".join(reads(io.BytesIO(b"x" * 3_000_000))) == b"x" * 3_000_000
    assert b"".join(parts([(0, memoryview(b"ab")), (2, b"cd")])) == b"abcd"


@pytest.mark.parametrize(
    "start",
    [
        b"# tracer: nop\n",
        b"cpus=8\n",
        b"noise\n qemu-1 [000] 1.5: sched_switch: x\n",
        b" CPU 0/KVM 12 [001] 1.5:   kvm:kvm_entry: vcpu 0, rip 0x0\n",
        b" a-1 [000] 1.5: kvm_fpu: load",
    ],
)
def test_what_is_a_trace(start: bytes) -> None:
    assert looks_like_text(start)


@pytest.mark.parametrize("start", [b"", b"\0\1\2", b"hello: world\n", b"12:34: word: text\n" * 9])
def test_what_is_none(start: bytes) -> None:
    assert not looks_like_text(start)
