"""Uses of old translations are told, and otherwise everything is as without audits."""

import struct
from pathlib import Path

import pytest
from tests.guests.assembly import call, put, start_others, wait_until, write_apic
from tests.guests.kit import Guest, GuestRun, run_machine
from tests.guests.layout import (
    AP_MAIN,
    DATA,
    IDENTITY_TABLES,
    INPUT,
    NO_EOI,
    SHARED,
    TABLES,
    WINDOW,
)

from hypercall.machine.machine import Machine

PAGE = 4096
ENTRY = TABLES + 8 * 3
ADDRESS = WINDOW + 3 * PAGE
OTHER = DATA + 0x8000
RELATIVE = DATA + 0x20000
OLD, NEW, FUNCTION = 0x111, 0x222, 0xCC0
MOVE = f"mov eax, {ENTRY}\nmov qword ptr [rax], {OTHER | 7}"


def wait(label: str, milliseconds: int) -> str:
    """Let time pass, so that audits come."""
    return f"mov ecx, {milliseconds * 1_000_000 // 5}\n{label}:\nsub ecx, 1\njnz {label}"


def read(address: str = f"mov edi, {ADDRESS}") -> str:
    return f"{address}\nmov rax, [rdi]\n{put('rax')}"


def run(text: str, *, stale: bool) -> GuestRun:
    machine = machine_for(text)
    machine.check(stale=stale)
    return run_machine(machine)


def machine_for(text: str, cpus: int = 1) -> Machine:
    entries = [WINDOW + PAGE * number | 7 for number in range(512)]
    function = bytes.fromhex("b801000000c3"), bytes.fromhex("b802000000c3")
    guest = Guest(
        text,
        cpus,
        memory={
            TABLES: struct.pack("<512Q", *entries),
            IDENTITY_TABLES + 2 * PAGE + 8 * (WINDOW >> 21): struct.pack("<Q", TABLES | 7),
            ADDRESS: struct.pack("<Q", OLD),
            OTHER: struct.pack("<Q", NEW),
            ADDRESS + FUNCTION: function[0],
            OTHER + FUNCTION: function[1],
            RELATIVE: b"\x0f\x01\x3d" + struct.pack("<i", ADDRESS - RELATIVE - 7) + b"\xc3",
            WINDOW + 0x100000 + 3 * PAGE: struct.pack("<Q", 0x333),
        },
    )
    return guest.machine()


def both(text: str, count: int) -> tuple[list[int], list[str]]:
    """Run with audits and without; return the words and what was found."""
    plain, audited = run(text, stale=False), run(text, stale=True)
    assert audited.words(count) == plain.words(count)
    assert audited.result.virtual_ns == plain.result.virtual_ns
    assert audited.memory(WINDOW, 0x200000) == plain.memory(WINDOW, 0x200000)
    assert plain.machine.check().finish() == []
    found = audited.machine.check().finish()
    assert all(finding.rule.name == "stale-translation" for finding in found)
    return audited.words(count), [finding.text for finding in found]


def test_an_old_translation_is_told_after_some_time_and_goes_on() -> None:
    words, found = both(
        f"{read()}\n{MOVE}\n{wait('a', 25)}\n{read()}\n{wait('b', 25)}\n{read()}\n{read()}", 4
    )
    assert words == [OLD, OLD, OLD, OLD]
    (text,) = found
    assert f"VP 0 used an old translation of {ADDRESS:#x} to read from the page" in text
    assert f"the address is at {OTHER:#x} now, and no call has flushed it for 30" in text


def test_nothing_is_told_of_what_is_flushed_in_time() -> None:
    words, found = both(
        f"{read()}\n{MOVE}\n{wait('a', 25)}\n{read()}\ninvlpg [rdi]\n{wait('b', 45)}\n{read()}", 3
    )
    assert (words, found) == ([OLD, OLD, NEW], [])


@pytest.mark.parametrize(
    "form",
    [
        f"mov edi, {ADDRESS}\ninvlpg [rdi]",
        f"mov edi, {ADDRESS - 8}\ninvlpg [rdi + 16]",
        f"mov edi, {ADDRESS + 0x1000}\ninvlpg [rdi - 0x1000]",
        f"mov edi, {ADDRESS}\nmov esi, 5\ninvlpg [rdi + rsi * 8 + 3]",
        f"mov esi, {ADDRESS // 8}\ninvlpg [rsi * 8]",
        f"mov r12d, {ADDRESS}\ninvlpg [r12]",
        f"mov r13d, {ADDRESS}\ninvlpg [r13]",
        f"mov r9d, {ADDRESS - 4}\nmov r14d, 2\ninvlpg [r9 + r14 * 2]",
        f"mov r9d, {ADDRESS}\ninvlpg [rsp + 0x7F] \ninvlpg [r9]",
        f"mov edi, {RELATIVE}\ncall rdi",
        f".byte 0x0F, 0x01, 0x3C, 0x25\n.long {ADDRESS}",
        f"mov ecx, 0xC0000100\nmov eax, {ADDRESS}\nxor edx, edx\nwrmsr\nxor edi, edi\n"
        "invlpg fs:[rdi]",
        f"movabs rdi, {1 << 40 | ADDRESS}\n.byte 0x67\ninvlpg [rdi]",
        "mov rax, cr3\nmov cr3, rax",
        "mov rax, cr4\nmov rdi, rax\nxor rdi, 0x80\nmov cr4, rdi\nmov cr4, rax",
    ],
)
def test_every_form_of_a_flush_drops_a_marked_translation(form: str) -> None:
    words, found = both(f"{read()}\n{MOVE}\n{wait('a', 25)}\n{form}\n{read()}", 2)
    assert (words, found) == ([OLD, NEW], [])


def test_32_bit_code_flushes_too() -> None:
    text = f"""
        {read()}
        {MOVE}
        {wait("a", 25)}
        mov edi, {ADDRESS}
        push 0x08
        push narrow
        retfq
    .code32
    narrow:
        invlpg [edi]
        .byte 0xEA
        .long wide
        .word 0x10
    .code64
    wide:
        {read()}
    """
    assert both(text, 2) == ([OLD, NEW], [])


def test_stores_by_an_old_translation_go_where_they_went() -> None:
    store = f"mov edi, {ADDRESS + 64}\nmov qword ptr [rdi], 0x777"
    words, found = both(
        f"{store}\n{MOVE}\n{wait('a', 45)}\n{store}\nmov edi, {OTHER + 64}\n"
        f"mov rax, [rdi]\n{put('rax')}",
        1,
    )
    assert words == [0]
    assert "to write to the page" in found[0]


def test_code_of_an_old_translation_goes_on() -> None:
    call = f"mov edi, {ADDRESS + FUNCTION}\ncall rdi\n{put('rax')}"
    words, found = both(
        f"{call}\n{MOVE}\n{wait('a', 25)}\n{call}\n{wait('b', 25)}\n{call}\n"
        f"mov edi, {ADDRESS}\ninvlpg [rdi]\n{call}",
        4,
    )
    assert words == [1, 1, 1, 2]
    (text,) = found
    assert "to execute code of the page" in text


def test_a_translation_whose_page_is_gone_is_told_so() -> None:
    unmap = f"mov eax, {ENTRY}\nmov qword ptr [rax], 0"
    words, found = both(f"{read()}\n{unmap}\n{wait('a', 45)}\n{read()}", 2)
    assert words == [OLD, OLD]
    assert "the address is not mapped for that any more" in found[0]


def test_lost_rights_are_told_and_new_ones_are_not() -> None:
    store = f"mov edi, {ADDRESS + 64}\nmov qword ptr [rdi], 0x777"
    protect = f"mov eax, {ENTRY}\nand qword ptr [rax], -3"
    text = f"mov rax, cr0\nor eax, 0x10000\nmov cr0, rax\n{store}\n{protect}\n{wait('a', 45)}"
    _, found = both(f"{text}\n{read()}\n{store}", 1)
    assert len(found) == 1
    assert "has other rights now" in found[0] or "is not mapped for that" in found[0]


def test_a_translation_that_is_right_again_is_forgotten() -> None:
    back = f"mov eax, {ENTRY}\nmov qword ptr [rax], {ADDRESS | 7}"
    words, found = both(f"{read()}\n{MOVE}\n{wait('a', 25)}\n{back}\n{wait('b', 45)}\n{read()}", 2)
    assert (words, found) == ([OLD, OLD], [])


def test_victims_of_the_tlb_keep_their_old_translations() -> None:
    """Pages 1 MiB apart share a place in the library's table at its first size."""
    rival = read(f"mov edi, {WINDOW + 0x100000 + 3 * PAGE}")
    words, found = both(
        f"{read()}\n{MOVE}\n{wait('a', 25)}\n{rival}\n{read()}\n{wait('b', 25)}\n{rival}\n{read()}"
        f"\n{rival}\n{wait('c', 25)}\n{rival}\n{read()}\n{rival}\nmov edi, {ADDRESS}\n"
        f"invlpg [rdi]\n{read()}",
        10,
    )
    assert words == [OLD, 0x333, OLD, 0x333, OLD, 0x333, 0x333, OLD, 0x333, NEW]
    assert len(found) == 1


def test_repeated_strings_use_old_translations_alike() -> None:
    fill = f"mov edi, {ADDRESS + 0x100}\nmov ecx, 64\nmov eax, 0x5A5A\nrep stosq"
    words, found = both(
        f"{fill}\n{MOVE}\n{wait('a', 45)}\n{fill}\nmov edi, {OTHER + 0x100}\nmov rax, [rdi]\n"
        f"{put('rax')}",
        1,
    )
    assert words == [0]
    assert len(found) == 1


def test_entries_are_not_marked_without_audits() -> None:
    counters = run(f"{read()}\n{MOVE}\n{wait('a', 45)}\n{read()}", stale=False).machine
    assert counters.exit_counts()["hypercalls"] == 0
    assert counters.check().findings == []


def test_atomic_accesses_use_old_translations_alike() -> None:
    add = f"mov edi, {ADDRESS + 128}\nmov eax, 5\nlock xadd [rdi], rax\n{put('rax')}"
    words, found = both(
        f"{add}\n{MOVE}\n{wait('a', 45)}\n{add}\n{add}\nmov edi, {OTHER + 128}\nmov rax, [rdi]\n"
        f"{put('rax')}",
        4,
    )
    assert words == [0, 5, 10, 0]
    assert len(found) == 1


def test_the_first_read_of_a_watched_page_is_told_and_stores_are_not() -> None:
    guest = Guest(
        f"mov edi, {DATA}\nmov qword ptr [rdi], 7\nlock add qword ptr [rdi], 1\n"
        f"mov edi, {DATA + PAGE + 8}\nmov rax, [rdi]\nmov rax, [rdi - 8]\n"
        f"mov edi, {DATA}\nmov rax, [rdi]\n{put('rax')}",
    )
    machine = guest.machine()
    seen: list[tuple[int, int]] = []
    machine.check()._exits.on_read = lambda address, offset: seen.append((address, offset))
    machine.check()._engine.watch_page(DATA + PAGE, True)
    run = run_machine(machine)
    assert run.words(1) == [8]
    assert seen == [(DATA + PAGE + 8, DATA + PAGE + 8)]


def test_a_page_is_watched_no_more() -> None:
    machine = Guest(f"mov edi, {DATA}\nmov rax, [rdi]\n{put('rax')}").machine()
    seen: list[int] = []
    machine.check()._exits.on_read = lambda address, offset: seen.append(address)
    machine.check()._engine.watch_page(DATA, True)
    machine.check()._engine.watch_page(DATA, False)
    run_machine(machine)
    assert seen == []


def test_audits_that_began_after_a_snapshot_go_on_when_it_is_restored() -> None:
    machine = machine_for(
        f"{read()}\n{MOVE}\n{wait('a', 25)}\nmov edi, {ADDRESS}\ninvlpg [rdi]\n{read()}"
    )
    machine.run(limit_ns=1000)
    snapshot = machine.snapshot()
    checks = machine.check(stale=True)
    for _ in range(2):
        machine.restore(snapshot)
        assert run_machine(machine).words(2) == [OLD, NEW]
        assert checks.finish() == []


def test_what_is_known_of_old_translations_goes_back_with_the_machine() -> None:
    text = f"{read()}\n{MOVE}\n{wait('a', 45)}\n{read()}\n{wait('b', 5)}\n{read()}"
    expected = run(text, stale=True).machine.check().finish()
    machine = machine_for(text)
    checks = machine.check(stale=True)
    # Before the translation is old, when that has been seen, and when its use has been told.
    snapshots = []
    for milliseconds in (10, 30, 47):
        machine.run(limit_ns=milliseconds * 1_000_000)
        snapshots.append(machine.snapshot())
    for snapshot in (*snapshots[::-1], *snapshots):
        machine.restore(snapshot)
        assert run_machine(machine).words(3) == [OLD, OLD, OLD]
        (found,) = checks.finish()
        assert (found.text, found.position, found.count) == (
            expected[0].text,
            expected[0].position,
            1,
        )


def test_a_snapshot_in_a_file_has_old_translations_without_their_marks(tmp_path: Path) -> None:
    machine = machine_for(f"{read()}\n{MOVE}\n{wait('a', 10)}\n{read()}")
    machine.check(stale=True)
    machine.run(limit_ns=9_000_000)
    path = tmp_path / "snapshot"
    machine.snapshot().save(path)
    assert run_machine(Machine.from_snapshot(path)).words(2) == [OLD, OLD]


NEIGHBOUR = ADDRESS + PAGE
RIVAL = WINDOW + 0x100000 + 3 * PAGE
# While the library remembers large pages anywhere near, it drops all for one page. So a processor
# forgets those of its start, and goes to no others that are far away.
FORGET = "mov rax, cr4\nmov rdi, rax\nxor rdi, 0x80\nmov cr4, rdi\nmov cr4, rax"


def see(address: int) -> str:
    return read(f"mov edi, {address}")


def flushed(address: int) -> str:
    """Flush an address on the second processor by a call."""
    return (
        f"mov edi, {INPUT}\nmov rax, cr3\nmov [rdi], rax\nmov qword ptr [rdi + 8], 0\n"
        f"mov qword ptr [rdi + 16], 2\nmov rax, {address}\nmov [rdi + 24], rax\n"
        f"{call(0x1_0000_0003, INPUT)}"
    )


def two_processors(first: str, second: str, *, stale: bool = True) -> GuestRun:
    """Run two processors; the run ends when the second is done, and has set 8 bytes at SHARED."""
    text = f"""
        mov byte ptr [{NO_EOI}], 1
        mov qword ptr [{AP_MAIN}], other
        {start_others(1)}
        {first}
        {wait_until("until_the_other_is_done", SHARED, 1)}
        jmp finished
    other:
        {FORGET}
        {second}
        mov dword ptr [{SHARED}], 1
        ret
    finished:
    """
    machine = machine_for(text, 2)
    machine.check(stale=stale)
    return run_machine(machine)


REST = f"mov dword ptr [{SHARED + 8}], 1\nsti\nhlt\ncli"
WAKE = write_apic(0x300, 0xC4040)


def when_it_rests(text: str) -> str:
    return f"{wait_until('until_it_rests', SHARED + 8, 1)}\n{text}"


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("later", ["", wait("b", 5)])
def test_a_flush_of_a_resting_processor_drops_what_was_marked(stale: bool, later: str) -> None:
    """The old translation lies among the victims of the library's table, where a fill leaves it."""
    run = two_processors(
        when_it_rests(
            f"{MOVE}\n{wait('a', 5)}\n{flushed(ADDRESS)}\n{later}\n{WAKE}\n"
            f"{wait_until('until_it_woke', SHARED + 16, 1)}\n"
            f"mov eax, {ENTRY + 8}\nmov qword ptr [rax], {OTHER | 7}"
        ),
        f"{see(NEIGHBOUR)}\n{see(ADDRESS)}\n{see(RIVAL)}\n{REST}\n"
        f"mov dword ptr [{SHARED + 16}], 1\n{wait('c', 5)}\n{see(ADDRESS)}",
        stale=stale,
    )
    assert run.words(4, 1) == [0, OLD, 0x333, NEW]
    assert run.machine.check().finish() == []


def test_a_processor_that_was_started_flushes_what_was_marked() -> None:
    """INIT resets what is intercepted, and with it whether INVLPG is seen."""
    run = two_processors(
        "",
        f"{see(ADDRESS)}\n{MOVE}\n{wait('a', 5)}\nmov edi, {ADDRESS}\ninvlpg [rdi]\n{see(ADDRESS)}",
    )
    assert run.words(2, 1) == [OLD, NEW]


def test_old_translations_of_a_resting_processor_are_seen() -> None:
    run = two_processors(
        when_it_rests(f"{MOVE}\n{wait('a', 45)}\n{WAKE}"),
        f"{see(ADDRESS)}\n{REST}\n{see(ADDRESS)}",
    )
    assert run.words(2, 1) == [OLD, OLD]
    (found,) = run.machine.check().finish()
    assert found.text.startswith(f"VP 1 used an old translation of {ADDRESS:#x} to read from")
