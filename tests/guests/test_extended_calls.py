"""The extended calls: the memory that is said to be zero is zero, and less once it is written."""

import pytest
from tests.guests.hypercalls import Caller, Calls, Row
from tests.guests.kit import MEMORY
from tests.guests.layout import DATA, OUTPUT

from hypercall.partition.configuration import PartitionConfiguration

PAGE = 4096


def zeroed(calls: Calls, output: int = OUTPUT) -> list[range]:
    """The page ranges of the answer."""
    (count,) = calls.run.memory_words(output, 1)
    words = calls.run.memory_words(output + 8, 2 * count)
    return [range(a, a + n) for a, n in zip(words[::2], words[1::2], strict=True)]


def test_capabilities_in_registers() -> None:
    answer = Caller().make(Row(0x18001)).only
    assert answer.result == 0
    assert answer.registers["rdx"] == int(PartitionConfiguration().extended_capabilities)
    assert answer.registers["r8"] == 0


@pytest.mark.parametrize("mode", ["64", "32"])
def test_the_ranges_are_zero_and_few(mode: str) -> None:
    calls = Caller(mode).make(Row(0x8002))
    assert calls.only.result == 0
    ranges = zeroed(calls)
    assert sum(len(pages) for pages in ranges) > MEMORY // PAGE // 2
    for pages in ranges:
        assert pages.stop * PAGE <= MEMORY
        data = calls.run.memory(pages.start * PAGE, len(pages) * PAGE)
        # The answer itself was written after it was made.
        offset = OUTPUT - pages.start * PAGE
        if 0 <= offset < len(data):
            data = data[:offset] + bytes(PAGE) + data[offset + PAGE :]
        assert not any(data)


def test_what_a_guest_writes_is_no_longer_named() -> None:
    page = DATA // PAGE + 5
    touch = f"mov rax, {page * PAGE + 8}\nmov byte ptr [rax], 0"
    before = Caller().make(Row(0x8002))
    after = Caller(before=touch).make(Row(0x8002))
    assert any(page in pages for pages in zeroed(before))
    assert not any(page in pages for pages in zeroed(after))
    assert any(page + 1 in pages for pages in zeroed(after))


def test_reading_writes_nothing() -> None:
    page = DATA // PAGE + 5
    calls = Caller(before=f"mov rax, {page * PAGE}\nmov rax, [rax]").make(Row(0x8002))
    assert any(page in pages for pages in zeroed(calls))


def test_the_output_of_an_earlier_call_is_no_longer_named() -> None:
    second = OUTPUT + PAGE
    calls = Caller().make(Row(0x8002), Row(0x8002, output=second))
    assert not any(OUTPUT // PAGE in pages for pages in zeroed(calls, second))


@pytest.mark.parametrize(
    "store",
    [
        "rep stosb",
        "rep stosq",
        "mov [rdi], al",
        "lock xadd [rdi], rax",
        "movdqu [rdi], xmm0",
        "fxsave [rdi]",
        "push qword ptr [rdi]\npop qword ptr [rdi]",
    ],
)
def test_every_way_of_storing_counts(store: str) -> None:
    page = DATA // PAGE + 9
    text = f"mov edi, {page * PAGE}\nmov ecx, 8\nxor eax, eax\ncld\n{store}"
    calls = Caller(before=text).make(Row(0x8002))
    assert not any(page in pages for pages in zeroed(calls))
