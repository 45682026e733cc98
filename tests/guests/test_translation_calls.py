"""HvCallTranslateVirtualAddress from guest code: result codes, VTLs, nested tables, readings."""

import random
import struct
from collections.abc import Callable

import pytest
from tests.guests.assembly import call, catch, put, put_fault, put_word
from tests.guests.hypercalls import Caller, Calls, Row
from tests.guests.layout import (
    DATA,
    FAULT,
    HYPERCALL_PAGE,
    IDENTITY_TABLES,
    INPUT,
    OUTPUT,
    TABLES,
    WINDOW,
)
from tests.guests.vtl import (
    ALL,
    READ,
    SECURE_CONFIG_VTL0,
    enable_protection,
    get_register,
    must_succeed,
    protect,
    run_vtls,
    store,
    vtl_call,
    vtl_return,
)

from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.partition.memory import ALL_PERMISSIONS, Permission
from hypercall.partition.nested_formats import NestedFormat
from hypercall.tlfs.call_flags import TranslateGvaFlags as F
from hypercall.tlfs.call_flags import TranslateGvaResultCode as Code
from hypercall.tlfs.privileges import Feature

CODE = 0x52
SELF, OWN_VP = -1, 0xFFFFFFFE
VTL = 1 << 56
USE_TARGET = 0x10 * VTL
WRITE_BACK = 6 << 32
OVERLAY = 1 << 40
R, W, X = F.VALIDATE_READ, F.VALIDATE_WRITE, F.VALIDATE_EXECUTE

PRESENT, WRITABLE, USER, PWT, PCD, ACCESSED, DIRTY, LARGE = (1 << bit for bit in range(8))
NO_EXECUTE = 1 << 63
ENABLE_NX = "mov ecx, 0xC0000080\nrdmsr\nor eax, 0x800\nwrmsr"
FREE = DATA + 0x100000
PAGE = WINDOW >> 12


def row(
    gva: int, flags: int = R, *, vp: int = OWN_VP, partition: int = SELF, number: int = 0
) -> Row:
    """A call in memory, with its output at a place of its own."""
    words = (partition, vp, flags, gva >> 12)
    return Row(CODE, words, INPUT + 64 * number, OUTPUT + 16 * number)


def window_tables(*entries: int) -> dict[int, bytes]:
    """A table for the window; `USE_TABLE` puts it in place."""
    return {TABLES: struct.pack(f"<{len(entries)}Q", *entries)}


# The directory of the loader's tables that maps the first GiB is the third page.
DIRECTORY_ENTRY = IDENTITY_TABLES + 0x2000 + 8 * (WINDOW >> 21)
USE_TABLE = f"""
    mov rax, {DIRECTORY_ENTRY}
    mov qword ptr [rax], {TABLES | PRESENT | WRITABLE | USER}
    mov rax, cr3
    mov cr3, rax
"""


def results(calls: Calls, count: int) -> list[tuple[int, int]]:
    """The result words and the pages of several calls."""
    assert [answer.result for answer in calls.answers] == [0] * count
    words = calls.output(2 * count)
    return list(zip(words[::2], words[1::2], strict=True))


def translate(
    *rows: Row,
    entries: tuple[int, ...] = (),
    before: str = "",
    prepare: Callable[[Machine], None] = lambda machine: None,
    mode: str = "64",
) -> list[tuple[int, int]]:
    caller = Caller(
        mode,
        before=f"{USE_TABLE if entries else ''}\n{before}",
        memory=window_tables(*entries),
        prepare=prepare,
    )
    return results(caller.make(*rows), len(rows))


@pytest.mark.parametrize("mode", ["64", "32"])
def test_the_tables_of_the_caller(mode: str) -> None:
    entries = (FREE | PRESENT | WRITABLE, FREE | PRESENT | PWT | PCD | ACCESSED)
    found = translate(
        row(WINDOW, R | W), row(WINDOW + 0x1000, number=1), entries=entries, mode=mode
    )
    assert found == [(WRITE_BACK, FREE >> 12), (0, FREE >> 12)]


def test_a_call_in_registers() -> None:
    caller = Caller(before=USE_TABLE, memory=window_tables(FREE | PRESENT))
    fast = Row(CODE | 1 << 16, input=SELF % (1 << 64), output=OWN_VP, xmm=(int(R), PAGE))
    answer = caller.make(fast).only
    assert answer.result == 0
    assert struct.unpack_from("<2Q", answer.xmm, 16) == (WRITE_BACK, FREE >> 12)


def test_large_pages() -> None:
    found = translate(row(0x87F000), row(0xC0001000, 0, number=1))
    assert found == [(WRITE_BACK, 0x87F), (Code.GPA_UNMAPPED, 0)]


@pytest.mark.parametrize(
    ("entry", "flags", "code"),
    [
        (0, R, Code.PAGE_NOT_PRESENT),
        (0, 0, Code.PAGE_NOT_PRESENT),
        (FREE | PRESENT, W, Code.PRIVILEGE_VIOLATION),
        (FREE | PRESENT, R | W, Code.PRIVILEGE_VIOLATION),
        (FREE | PRESENT, R | X, Code.SUCCESS),
        (FREE | PRESENT, 0, Code.SUCCESS),
        (FREE | PRESENT, W | F.PRIVILEGE_EXEMPT, Code.PRIVILEGE_VIOLATION),
        (FREE | PRESENT, R | F.USER_ACCESS, Code.PRIVILEGE_VIOLATION),
        (FREE | PRESENT, R | F.USER_ACCESS | F.PRIVILEGE_EXEMPT, Code.SUCCESS),
        (FREE | PRESENT | USER, R | F.USER_ACCESS, Code.SUCCESS),
        (FREE | PRESENT | NO_EXECUTE, X, Code.PRIVILEGE_VIOLATION),
        (FREE | PRESENT | NO_EXECUTE, R, Code.SUCCESS),
        (FREE | PRESENT | 1 << 45, R, Code.INVALID_PAGE_TABLE_FLAGS),
        (0xD0000000 | PRESENT, R, Code.GPA_UNMAPPED),
        (HYPERCALL_PAGE | PRESENT | WRITABLE, W, Code.GPA_ILLEGAL_OVERLAY_ACCESS),
    ],
)
def test_result_codes(entry: int, flags: int, code: Code) -> None:
    ((word, page),) = translate(
        row(WINDOW, flags),
        entries=(entry,),
        before=f"{ENABLE_NX}\nmov rax, cr0\nor eax, 0x10000\nmov cr0, rax",
    )
    assert word & 0xFFFFFFFF == code
    assert page == (0 if code else FREE >> 12)


def test_without_write_protection_supervisors_may_write() -> None:
    before = "mov rax, cr0\nand eax, 0xfffeffff\nmov cr0, rax"
    entries = (FREE | PRESENT | USER,)
    found = translate(
        row(WINDOW, W), row(WINDOW, W | F.USER_ACCESS, number=1), entries=entries, before=before
    )
    assert [word & 0xF for word, _ in found] == [Code.SUCCESS, Code.PRIVILEGE_VIOLATION]


def test_supervisors_among_the_pages_of_users() -> None:
    """SMEP and SMAP, and the flags that decide about them."""
    entries = (FREE | PRESENT | WRITABLE | USER,)
    flags = (
        X,
        X | F.PRIVILEGE_EXEMPT,
        R,
        R | F.OVERRIDE_SMAP,
        R | F.PRIVILEGE_EXEMPT,
        X | R | F.USER_ACCESS,
        0,
    )
    rows = [row(WINDOW, each, number=number) for number, each in enumerate(flags)]
    # The caller's own pages become those of supervisors before.
    before = f"""
        mov rax, {IDENTITY_TABLES + 0x2000}
        and qword ptr [rax], -5
        and qword ptr [rax + 8], -5
        and qword ptr [rax + 24], -5
        mov rax, cr3
        mov cr3, rax
        mov rax, cr4
        or eax, 0x300000
        mov cr4, rax
    """
    found = translate(*rows, entries=entries, before=before)
    violation = Code.PRIVILEGE_VIOLATION
    assert [word & 0xF for word, _ in found] == [violation, 0, violation, 0, 0, 0, 0]


def test_smap_by_the_alignment_check_flag() -> None:
    entries = (FREE | PRESENT | USER,)
    before = f"""
        mov rax, {IDENTITY_TABLES + 0x2000}
        and qword ptr [rax], -5
        and qword ptr [rax + 8], -5
        mov rax, cr3
        mov cr3, rax
        mov rax, cr4
        or eax, 0x200000
        mov cr4, rax
        stac
        {store(INPUT, -1)}
        {store(INPUT + 8, OWN_VP)}
        {store(INPUT + 16, int(R))}
        {store(INPUT + 24, PAGE)}
        {call(CODE, INPUT, OUTPUT)}
        {store(INPUT + 16, int(R | F.ENFORCE_SMAP))}
        {call(CODE, INPUT, OUTPUT + 16)}
        clac
        {call(CODE, INPUT, OUTPUT + 32)}
    """
    calls = Caller(before=USE_TABLE + before, memory=window_tables(*entries)).make()
    assert [word & 0xF for word in calls.output(6)[::2]] == [0, 2, 2]


def test_the_hypercall_page_is_an_overlay() -> None:
    ((word, page),) = translate(row(HYPERCALL_PAGE, R | X))
    assert (word, page) == (WRITE_BACK | OVERLAY, HYPERCALL_PAGE >> 12)


def test_what_the_host_forbids() -> None:
    def prepare(machine: Machine) -> None:
        machine.restrict(FREE, 4096, Permission.READ)
        machine.restrict(FREE + 0x1000, 1, Permission(0))

    entries = (FREE | PRESENT | WRITABLE, FREE + 0x1000 | PRESENT | WRITABLE)
    found = translate(
        row(WINDOW, R),
        row(WINDOW, R | W, number=1),
        row(WINDOW + 0x1000, R, number=2),
        row(WINDOW + 0x1000, R | W, number=3),
        entries=entries,
        prepare=prepare,
    )
    codes = [word & 0xFFFFFFFF for word, _ in found]
    no_read, no_write = Code.GPA_NO_READ_ACCESS, Code.GPA_NO_WRITE_ACCESS
    assert codes == [Code.SUCCESS, no_write, no_read, no_read]


def test_what_the_host_forbids_is_a_general_protection_fault() -> None:
    write = f"mov rax, {FREE}\nmov qword ptr [rax], 1"
    caller = Caller(
        before=f"{catch('written', write)}\n{put_fault()}",
        prepare=lambda machine: machine.restrict(FREE, 4096, Permission.READ),
    )
    run = caller.make().run
    assert run.words(1) == [13]
    assert run.memory(FREE, 8) == bytes(8)


def test_parameters_that_the_host_forbids() -> None:
    caller = Caller(prepare=lambda machine: machine.restrict(OUTPUT, 4096, Permission.READ))
    assert caller.make(row(WINDOW)).only.status == 3


def test_only_ram_can_be_forbidden() -> None:
    machine = Caller().guest().machine()
    with pytest.raises(InputError, match="no RAM at 0x1000000:"):
        machine.restrict(0xFFF000, 4097, Permission.READ)
    assert machine.partition.memory.host_permissions(0xFFF) == ALL_PERMISSIONS


def test_accessed_and_dirty_bits_are_set_when_asked() -> None:
    entries = (FREE | PRESENT | WRITABLE,) * 4
    marks = F.SET_PAGE_TABLE_BITS
    caller = Caller(before=USE_TABLE, memory=window_tables(*entries))
    calls = caller.make(
        row(WINDOW, R | W),
        row(WINDOW + 0x1000, R | marks, number=1),
        row(WINDOW + 0x2000, W | marks, number=2),
        row(WINDOW + 0x3000, W | marks | F.USER_ACCESS, number=3),
    )
    codes = [word & 0xF for word in calls.output(8)[::2]]
    assert codes == [0, 0, 0, Code.PRIVILEGE_VIOLATION]
    table = calls.run.memory_words(TABLES, 4)
    assert [entry & (ACCESSED | DIRTY) for entry in table] == [0, ACCESSED, ACCESSED | DIRTY, 0]
    (directory,) = calls.run.memory_words(DIRECTORY_ENTRY, 1)
    assert directory & (ACCESSED | DIRTY) == ACCESSED


def test_a_processor_that_has_not_started_does_not_page() -> None:
    calls = Caller(cpus=2).make(row(0x12345000, vp=1))
    assert results(calls, 1) == [(Code.GPA_UNMAPPED, 0)]
    calls = Caller(cpus=2).make(row(0x345000, W, vp=1))
    assert results(calls, 1) == [(WRITE_BACK, 0x345)]


# --- virtual trust levels ------------------------------------------------------------------------

LIST = INPUT + 0x800


def ask(gva: int, flags: int, vp: int = OWN_VP) -> str:
    """Make the call in memory; its result is in RAX."""
    return f"""
        {store(LIST, -1)}
        {store(LIST + 8, vp)}
        {store(LIST + 16, flags)}
        {store(LIST + 24, gva >> 12)}
        {call(CODE, LIST, OUTPUT)}
    """


def put_output() -> str:
    return f"{put_word(OUTPUT)}\n{put_word(OUTPUT + 8)}"


def test_a_higher_vtl_asks_by_the_tables_of_a_lower_one() -> None:
    """VTL 0 has tables of its own by then; VTL 1 still has those that it was enabled with."""
    run = run_vtls(
        f"""
        mov rsi, {IDENTITY_TABLES}
        mov edi, {TABLES + 0x1000}
        mov ecx, 512
        cld
        rep movsq
        mov rsi, {IDENTITY_TABLES + 0x1000}
        mov ecx, 512
        rep movsq
        mov rsi, {IDENTITY_TABLES + 0x2000}
        mov ecx, 512
        rep movsq
        mov eax, {TABLES + 0x1000}
        mov qword ptr [rax], {TABLES + 0x2000 | 7}
        mov qword ptr [rax + 0x1000], {TABLES + 0x3000 | 7}
        mov qword ptr [rax + 0x2000 + {8 * (WINDOW >> 21)}], {TABLES | 7}
        mov cr3, rax
        {vtl_call()}
        """,
        f"""
        {ask(WINDOW, int(R) | USE_TARGET)}
        {put("rax")}
        {put_output()}
        {ask(WINDOW, int(R))}
        {put("rax")}
        {put_output()}
        {vtl_return()}
        """,
        memory=window_tables(FREE | PRESENT),
    )
    assert run.words(6) == [0, WRITE_BACK, FREE >> 12, 0, WRITE_BACK, WINDOW >> 12]


def test_a_page_that_a_higher_vtl_protects_is_an_intercept() -> None:
    run = run_vtls(
        vtl_call(),
        f"""
        {enable_protection()}
        {protect(FREE, READ)}
        {ask(FREE, int(R) | USE_TARGET)}
        {put_output()}
        {ask(FREE, int(R | W) | USE_TARGET)}
        {put_output()}
        {ask(FREE, int(X) | USE_TARGET)}
        {put_output()}
        {ask(FREE, int(R | W))}
        {put_output()}
        {protect(FREE, ALL)}
        {ask(FREE, int(R | W | X) | USE_TARGET)}
        {put_output()}
        {vtl_return()}
        """,
    )
    codes = [word & 0xF for word in run.words(10)[::2]]
    assert codes == [0, Code.INTERCEPT, Code.INTERCEPT, 0, 0]


def test_a_higher_vtl_is_not_to_be_asked_about() -> None:
    run = run_vtls(
        f"{ask(WINDOW, int(R) | USE_TARGET | VTL)}\n{put('rax')}\n"
        f"{ask(WINDOW, int(R) | USE_TARGET | 2 * VTL)}\n{put('rax')}\n"
        f"{ask(WINDOW, int(R) | USE_TARGET | 3 * VTL)}\n{put('rax')}",
        "",
    )
    assert run.words(3) == [6, 6, 5]


def test_a_vtl_that_the_other_processor_does_not_have() -> None:
    run = run_vtls(
        vtl_call(),
        f"{ask(WINDOW, int(R) | USE_TARGET | VTL, vp=1)}\n{put('rax')}\n{vtl_return()}",
        cpus=2,
    )
    assert run.words(1) == [0x51]


def test_the_tlb_stays_locked_until_the_vtl_returns() -> None:
    """VTL 1 asks with TLB_FLUSH_INHIBIT; what it then reads is that VTL 0's TLB is locked."""
    run = run_vtls(
        f"""
        {ask(WINDOW, int(R | F.TLB_FLUSH_INHIBIT))}
        {put("rax")}
        {vtl_call()}
        {vtl_call()}
        """,
        f"""
        {ask(WINDOW, int(R | F.TLB_FLUSH_INHIBIT) | USE_TARGET)}
        {must_succeed()}
        {get_register(SECURE_CONFIG_VTL0, own=1)}
        {put("rax")}
        {vtl_return()}
        {get_register(SECURE_CONFIG_VTL0, own=1)}
        {put("rax")}
        {ask(WINDOW, int(R | F.TLB_FLUSH_INHIBIT))}
        {put("rax")}
        {vtl_return()}
        """,
    )
    assert run.words(4) == [5, 2, 0, 5]


# --- nested guests -------------------------------------------------------------------------------

NESTED = {"privileges": "all"}
POINTER = DATA | 0x1E
EPT = DATA + 0x3000


def nested_tables() -> dict[int, bytes]:
    """Second-level tables: the first 16 MiB to themselves, the window's first 2 MiB by pages."""

    def entries(*values: int) -> bytes:
        return struct.pack(f"<{len(values)}Q", *values)

    large = [page << 21 | 6 << 3 | LARGE | 7 for page in range(8)]
    large[FREE >> 21] = EPT | 7
    first = FREE >> 21 << 9
    return {
        DATA: entries(DATA + 0x1000 | 7),
        DATA + 0x1000: entries(DATA + 0x2000 | 7),
        DATA + 0x2000: entries(*large),
        EPT: entries(*((first + page) << 12 | 6 << 3 | 7 for page in range(512))),
    }


def slot(gpa: int) -> int:
    """Where the second-level entry of an address lies."""
    return EPT + 8 * (gpa >> 12 & 0x1FF)


def test_second_level_tables_translate_further_and_are_remembered_until_a_flush() -> None:
    other = FREE + 0x5000

    def prepare(machine: Machine) -> None:
        nested = machine.partition.nested
        nested.register(POINTER, NestedFormat.EPT)
        nested.run(POINTER)

    change = f"mov eax, {slot(FREE)}\nmov qword ptr [rax], {other | 6 << 3 | 7}"
    caller = Caller(
        before=f"""
            {USE_TABLE}
            {ask(WINDOW, int(R))}
            {put_output()}
            {change}
            {ask(WINDOW, int(R))}
            {put_output()}
            {store(LIST, POINTER)}
            {store(LIST + 8, 0)}
            {call(0xAF, LIST)}
            {put("rax")}
            {ask(WINDOW, int(R))}
            {put_output()}
            mov eax, {slot(FREE)}
            mov qword ptr [rax], {other | 6 << 3 | 1}
            {store(LIST, POINTER)}
            {store(LIST + 8, 0)}
            {store(LIST + 16, FREE)}
            {call(0x1_0000_00B0, LIST)}
            {put("rax")}
            {ask(WINDOW, int(R))}
            {put_output()}
            {ask(WINDOW, int(R | W))}
            {put_output()}
        """,
        configuration=NESTED,
        memory=nested_tables() | window_tables(FREE | PRESENT | WRITABLE),
        prepare=prepare,
    )
    first, new = (WRITE_BACK, FREE >> 12), (WRITE_BACK, other >> 12)
    expected = [*first, *first, 0, *new, 0x1_0000_0000, *new, Code.INTERCEPT, 0]
    assert caller.make().run.words(len(expected)) == expected


def test_each_processor_remembers_its_own_translations() -> None:
    def prepare(machine: Machine) -> None:
        nested = machine.partition.nested
        nested.register(POINTER, NestedFormat.EPT)
        nested.run(POINTER, vp_index=1)

    caller = Caller(cpus=2, memory=nested_tables(), prepare=prepare)
    calls = caller.make(row(FREE, vp=1), row(WINDOW, number=1))
    assert results(calls, 2) == [(WRITE_BACK, FREE >> 12), (WRITE_BACK, WINDOW >> 12)]
    space = calls.run.machine.partition.nested.find(POINTER)
    assert space is not None
    assert [space.cached(vp_index) for vp_index in range(2)] == [[], [(FREE, 0x1000)]]


def test_second_level_tables_beyond_memory() -> None:
    def prepare(machine: Machine) -> None:
        nested = machine.partition.nested
        nested.register(POINTER, NestedFormat.EPT)
        nested.run(POINTER)
        machine.partition.memory.write_u64(DATA, 0xF0_0000_0007)

    caller = Caller(memory=nested_tables(), prepare=prepare)
    assert results(caller.make(row(WINDOW)), 1) == [(Code.GPA_UNMAPPED, 0)]


# --- statuses and readings -----------------------------------------------------------------------


def statuses(like: str = "hyperv", *rows: Row, **partition: object) -> list[int]:
    configuration = {"like": like, "privileges": "all", "partition": partition}
    made = Caller(cpus=2, configuration=configuration).make(*rows)
    return [answer.status for answer in made.answers]


@pytest.mark.parametrize(
    ("like", "expected"),
    [
        ("hyperv", [0x0D, 0, 6, 0]),
        ("kvm", [3, 3, 3, 0]),
        ("xen", [0x0D, 0, 6, 0]),
        ("openvmm", [6, 6, 6, 6]),
    ],
)
def test_readings(like: str, expected: list[int]) -> None:
    found = statuses(
        like,
        row(WINDOW, partition=5),
        row(WINDOW, vp=1, number=1),
        row(WINDOW, R | USE_TARGET | VTL, number=2),
        row(WINDOW, number=3),
    )
    assert found == expected


def test_what_is_refused() -> None:
    found = statuses(
        "hyperv",
        row(WINDOW, vp=7),
        row(WINDOW, F.SHADOW_STACK, number=1),
        row(WINDOW, 1 << 11, number=2),
        row(WINDOW, 1 << 32, number=3),
        row(WINDOW, 0x20 * VTL, number=4),
        row(WINDOW, F.USER_ACCESS | F.SUPERVISOR_ACCESS, number=5),
        Row(CODE, (SELF, OWN_VP, int(R), 1 << 52), INPUT + 64 * 6, OUTPUT + 16 * 6),
    )
    assert found == [0x0E, 5, 5, 5, 5, 5, 5]


def test_flags_that_cpuid_does_not_offer() -> None:
    rows = (row(WINDOW, R | F.USER_ACCESS), row(WINDOW, R | F.PRIVILEGE_EXEMPT, number=1))
    assert statuses("hyperv", *rows, features=Feature(0)) == [5, 0]


def test_an_address_that_the_mode_does_not_have() -> None:
    assert translate(row(0x8000_0000_0000)) == [(Code.PAGE_NOT_PRESENT, 0)]


def test_the_output_page_is_not_touched_by_a_refused_call() -> None:
    marked = {OUTPUT: b"\xee" * 16}
    calls = Caller(memory=marked).make(row(WINDOW, vp=7))
    assert calls.only.status == 0x0E
    assert calls.run.memory(OUTPUT, 16) == marked[OUTPUT]


# --- against the processor -----------------------------------------------------------------------

PAGES = 256
FOUND = DATA + 0x200000
"""For each page: vector and error code of a read and of a write, and both result codes."""


def _random_entry(chance: random.Random) -> int:
    entry = FREE + chance.randrange(16) * 4096 | PRESENT
    for bit in (WRITABLE, USER, PWT, PCD, ACCESSED, DIRTY, 1 << 7, 1 << 8, NO_EXECUTE):
        entry |= chance.choice((0, bit))
    entry |= chance.choice((0, 0, 0, 1 << 40, 1 << 51))
    return entry & ~PRESENT if not chance.randrange(6) else entry


def _code_of(vector: int, error: int) -> Code:
    """What the call answers where the processor raises an exception."""
    if vector == (1 << 64) - 1:
        return Code.SUCCESS
    assert vector == 14
    if not error & 1:
        return Code.PAGE_NOT_PRESENT
    return Code.INVALID_PAGE_TABLE_FLAGS if error & 8 else Code.PRIVILEGE_VIOLATION


@pytest.mark.parametrize("write_protect", [0, 0x10000])
@pytest.mark.parametrize("seed", range(2))
def test_it_answers_what_the_processor_does(seed: int, write_protect: int) -> None:
    """Random entries of the last level: each page is read, written and asked about."""
    chance = random.Random(seed)
    entries = [_random_entry(chance) for _ in range(PAGES)]

    def touch(name: str, instruction: str, offset: int) -> str:
        return f"""
            {catch(name, instruction)}
            mov rax, {FAULT}
            mov rcx, [rax]
            mov rdx, [rax + 8]
            mov [r12 + {offset}], rcx
            mov [r12 + {offset + 8}], rdx
        """

    def ask_for(flags: int, offset: int) -> str:
        return f"""
            {store(LIST + 16, flags)}
            {call(CODE, LIST, OUTPUT)}
            mov eax, {OUTPUT}
            mov rcx, [rax]
            mov [r12 + {offset}], ecx
        """

    text = f"""
        {ENABLE_NX}
        {USE_TABLE}
        mov rax, cr0
        and eax, {~0x10000 & 0xFFFFFFFF:#x}
        or eax, {write_protect:#x}
        mov cr0, rax
        {store(LIST, -1)}
        {store(LIST + 8, OWN_VP)}
        {store(LIST + 24, PAGE)}
        mov esi, {WINDOW}
        mov r12d, {FOUND}
        mov ebx, {PAGES}
    next_page:
        {touch("page_read", "mov al, [rsi]", 0)}
        {touch("page_written", "mov byte ptr [rsi], 1", 16)}
        {ask_for(int(R), 32)}
        {ask_for(int(W), 40)}
        mov r11d, {LIST + 24}
        inc qword ptr [r11]
        add esi, 4096
        add r12, 48
        sub ebx, 1
        jnz next_page
    """
    run = Caller(before=text, memory=window_tables(*entries)).make().run
    words = run.memory_words(FOUND, 6 * PAGES)
    seen = set()
    for number in range(PAGES):
        reading, read_error, writing, write_error, by_read, by_write = words[6 * number :][:6]
        expected = (_code_of(reading, read_error), _code_of(writing, write_error))
        assert (by_read, by_write) == expected, f"entry {entries[number]:#x}"
        seen.add(expected)
    assert len(seen) == (4 if write_protect else 3)
