"""Hints about the heat of memory from guest code, with their effect on content and host."""

import mmap
from pathlib import Path

import pytest
from tests.guests import assembly
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import Guest, assemble, run_guest, run_machine
from tests.guests.layout import DATA, INPUT, OUTPUT

from hypercall.partition.memory_hints import COMPLETION_NS
from hypercall.tlfs.call_flags import HeatType

HINT, HINT_LATER = 0x8003, 0x8006
COLD, HOT, DISCARD = HeatType
CALL_PENDING = 0x79
LARGE = 0x1000000
"""Where large ranges of a machine with 64 MiB lie."""
LARGE_MEMORY = {"memory": 64 << 20}
SLACK = 2 << 20


def resident() -> int:
    """The bytes of host memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def fill(address: int, pages: int) -> str:
    return f"cld\nmov edi, {address}\nmov ecx, {pages * 512}\nmov rax, {0x5A5A5A5A}\nrep stosq"


@pytest.mark.parametrize("mode", ["64", "32"])
@pytest.mark.parametrize(("heat", "kept"), [(COLD, True), (HOT, True), (DISCARD, False)])
def test_the_content_of_small_ranges(mode: str, heat: HeatType, kept: bool) -> None:
    caller = Caller(mode, before=fill(DATA, 4))
    calls = caller.make(Row(HINT | 2 << 32, (heat, DATA, DATA + 0x2000)))
    assert calls.only.result == 0x2_0000_0000
    found = [calls.run.memory_words(DATA + 0x1000 * page, 1)[0] for page in range(4)]
    value = 0x5A5A5A5A
    assert found == ([value] * 4 if kept else [0, value, 0, value])


def hint_text(code: int, element: int, heat: HeatType) -> str:
    return f"""
        mov qword ptr [{INPUT}], {int(heat)}
        mov rax, {element}
        mov [{INPUT + 8}], rax
        {assembly.call(code | 1 << 32, INPUT, OUTPUT)}
        {assembly.put("rax")}
    """


def test_discarded_memory_leaves_the_host_and_is_reported_as_zero_again() -> None:
    """32 MiB are written, then discarded: the process shrinks by as much."""
    pages = 8192
    element = LARGE | 0x800 | 15
    source = f"""
        {fill(LARGE, pages)}
        mov eax, 1
        out 0x80, al
        {hint_text(HINT, element, DISCARD)}
        mov rbx, {LARGE + 0x1234560}
        mov rax, [rbx]
        {assembly.put("rax")}
        {assembly.call(0x8002, INPUT, OUTPUT)}
        {assembly.put("rax")}
    """
    machine = Guest(source, configuration=LARGE_MEMORY).machine()
    sizes: list[int] = []
    machine.board.bus.observer = lambda *_: sizes.append(resident())
    run = run_machine(machine)
    assert run.words(3) == [0x1_0000_0000, 0, 0]
    assert resident() <= sizes[0] - pages * mmap.PAGESIZE + SLACK
    (count,) = run.memory_words(OUTPUT, 1)
    words = run.memory_words(OUTPUT + 8, 2 * count)
    ranges = [range(a, a + n) for a, n in zip(words[::2], words[1::2], strict=True)]
    assert any(LARGE >> 12 in pages and (LARGE >> 12) + 8191 in pages for pages in ranges)


def test_cold_zeros_leave_the_host_and_stay_zeros() -> None:
    pages = 4096
    element = LARGE | 0x800 | 7
    source = f"""
        cld
        mov edi, {LARGE}
        mov ecx, {pages * 512}
        xor eax, eax
        rep stosq
        mov byte ptr [{LARGE + 0x5005}], 0x77
        out 0x80, al
        {hint_text(HINT, element, COLD)}
        {assembly.put_byte(LARGE + 0x5005)}
        {assembly.put_byte(LARGE + 0x6005)}
    """
    machine = Guest(source, configuration=LARGE_MEMORY).machine()
    sizes: list[int] = []
    machine.board.bus.observer = lambda *_: sizes.append(resident())
    run = run_machine(machine)
    assert run.words(3) == [0x1_0000_0000, 0x77, 0]
    assert resident() <= sizes[0] - pages * mmap.PAGESIZE + SLACK


def test_a_store_after_a_discard_is_no_longer_reported_as_zero() -> None:
    page = DATA // 4096 + 3
    source = f"""
        mov rbx, {page * 4096}
        mov qword ptr [rbx], 1
        {hint_text(HINT, page * 4096, DISCARD)}
        mov qword ptr [rbx + 8], 1
        {assembly.call(0x8002, INPUT, OUTPUT)}
    """
    run = run_guest(source)
    (count,) = run.memory_words(OUTPUT, 1)
    words = run.memory_words(OUTPUT + 8, 2 * count)
    assert not any(a <= page < a + n for a, n in zip(words[::2], words[1::2], strict=True))
    assert run.memory_words(page * 4096, 2) == [0, 1]


def test_code_in_a_discarded_page_is_not_executed_any_more() -> None:
    """The page has a function; after the discard it reads as zero, which is ADD [RAX], AL."""
    function = assemble("mov eax, 7\nret", DATA)
    source = f"""
        mov rbx, {DATA}
        call rbx
        {assembly.put("rax")}
        {hint_text(HINT, DATA, DISCARD)}
        mov byte ptr [{DATA}], 0xB8
        mov byte ptr [{DATA + 1}], 9
        mov byte ptr [{DATA + 5}], 0xC3
        mov rbx, {DATA}
        call rbx
        {assembly.put("rax")}
    """
    run = run_guest(source, memory={DATA: function})
    assert run.words(3) == [7, 0x1_0000_0000, 9]


def test_a_hint_that_is_not_waited_for() -> None:
    wait = "rdtsc\nshl rdx, 32\nor rax, rdx"
    source = f"""
        mov qword ptr [{DATA}], 1
        {hint_text(HINT_LATER, DATA, DISCARD)}
        {assembly.put_word(DATA)}
        {wait}
        mov rbx, rax
    waiting:
        {wait}
        sub rax, rbx
        cmp rax, {2 * COMPLETION_NS}
        jb waiting
        {assembly.put_word(DATA)}
    """
    assert run_guest(source).words(3) == [CALL_PENDING | 1 << 32, 1, 0]


@pytest.mark.parametrize("code", [HINT, HINT_LATER])
def test_a_bad_element_ends_the_list(code: int) -> None:
    row = Row(code | 3 << 32, (COLD, DATA, 0x4000_0000, DATA))
    assert Caller().make(row).only.result == 5 | 1 << 32


@pytest.mark.parametrize("code", [HINT, HINT_LATER])
def test_there_is_no_register_form(code: int) -> None:
    row = Row(code | 1 << 32 | 1 << 16, input=0, output=DATA)
    assert Caller().make(row).only.status == 3
