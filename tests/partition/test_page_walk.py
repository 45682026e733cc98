import pytest

from hypercall.partition.page_walk import PagingRegisters, UsedEntry, WalkFault, walk
from hypercall.tlfs.call_flags import TranslateGvaResultCode as Code

ROOT, SECOND, THIRD, FOURTH = 0x1000, 0x2000, 0x3000, 0x4000
PRESENT, WRITE, USER, PWT, PCD, ACCESSED, DIRTY, LARGE = (1 << bit for bit in range(8))
ALL = PRESENT | WRITE | USER
PAGING, PSE, PAE, LONG_ACTIVE, NXE = 1 << 31 | 1, 1 << 4, 1 << 5, 1 << 10, 1 << 11
BITS = 40

OFF = PagingRegisters(1, ROOT, 0, 0, BITS)
SMALL = PagingRegisters(PAGING, ROOT, PSE, 0, BITS)
WITHOUT_LARGE = PagingRegisters(PAGING, ROOT, 0, 0, BITS)
EXTENDED = PagingRegisters(PAGING, ROOT | 0x20, PAE, NXE, BITS)
LONG = PagingRegisters(PAGING, ROOT, PAE, LONG_ACTIVE | NXE, BITS)
NO_NXE = PagingRegisters(PAGING, ROOT, PAE, LONG_ACTIVE, BITS)

Entries = dict[int, int]


def found(registers: PagingRegisters, address: int, entries: Entries) -> tuple[object, ...]:
    """Address, rights and PAT index of a walk."""
    result = walk(registers, address, lambda gpa, size: entries.get(gpa, 0))
    return result.address, result.user, result.writable, result.executable, result.pat_index


def fault(registers: PagingRegisters, address: int, entries: Entries) -> Code:
    with pytest.raises(WalkFault) as raised:
        found(registers, address, entries)
    return raised.value.code


def long_tables(*last: int, top: int = ALL, third: int = 0) -> Entries:
    entries = {ROOT: SECOND | top, SECOND: THIRD | ALL, THIRD: third or FOURTH | ALL}
    return entries | {FOURTH + 8 * number: entry for number, entry in enumerate(last)}


@pytest.mark.parametrize(
    ("registers", "address", "entries", "expected"),
    [
        pytest.param(OFF, 0x12345678, {}, 0x12345678, id="no-paging"),
        pytest.param(SMALL, 0x401234, {ROOT + 4: SECOND | 7, SECOND + 4: 0x9000 | 7}, 0x9234),
        pytest.param(SMALL, 0x7ABCDE, {ROOT + 4: 0x800000 | LARGE | 7}, 0xBABCDE, id="4M"),
        pytest.param(
            SMALL, 0x412345, {ROOT + 4: 0x800000 | 5 << 13 | LARGE | 7}, 0x5_0081_2345, id="PSE-36"
        ),
        pytest.param(
            WITHOUT_LARGE,
            0x401234,
            {ROOT + 4: SECOND | LARGE | 7, SECOND + 4: 0x9000 | 7},
            0x9234,
            id="large-bit-without-PSE",
        ),
        pytest.param(
            EXTENDED,
            0xC0001234,
            {ROOT + 0x38: SECOND | 1, SECOND: THIRD | 7, THIRD + 8: 0x20_0000_9000 | 7},
            0x20_0000_9234,
            id="PAE",
        ),
        pytest.param(
            EXTENDED,
            0x40212345,
            {ROOT + 0x28: SECOND | 1, SECOND + 8: 0x600000 | LARGE | 7},
            0x612345,
            id="PAE-2M",
        ),
        pytest.param(LONG, 0x1234, long_tables(0, 0x9000 | 7), 0x9234, id="4K"),
        pytest.param(LONG, 0x12345, long_tables(third=0xA00000 | LARGE | 7), 0xA12345, id="2M"),
        pytest.param(
            LONG,
            0xFFFF_FF80_0000_0010,
            {ROOT + 8 * 511: SECOND | 7, SECOND: 1 << 30 | LARGE | 7},
            (1 << 30) + 0x10,
            id="1G",
        ),
    ],
)
def test_addresses(
    registers: PagingRegisters, address: int, entries: Entries, expected: int
) -> None:
    assert found(registers, address, entries)[0] == expected


@pytest.mark.parametrize(
    ("last", "top", "rights"),
    [
        (ALL, ALL, (True, True, True)),
        (PRESENT | WRITE, ALL, (False, True, True)),
        (ALL, PRESENT | USER, (True, False, True)),
        (ALL | 1 << 63, ALL, (True, True, False)),
        (ALL, ALL | 1 << 63, (True, True, False)),
    ],
)
def test_rights_of_all_levels_together(last: int, top: int, rights: tuple[bool, ...]) -> None:
    assert found(LONG, 0, long_tables(0x9000 | last, top=top))[1:4] == rights


@pytest.mark.parametrize(
    ("entries", "index"),
    [
        (long_tables(0x9000 | 7), 0),
        (long_tables(0x9000 | 7 | PWT), 1),
        (long_tables(0x9000 | 7 | PCD), 2),
        (long_tables(0x9000 | 7 | 1 << 7), 4),
        (long_tables(third=LARGE | 7 | 1 << 12 | PWT), 5),
    ],
)
def test_the_entry_of_the_pat(entries: Entries, index: int) -> None:
    assert found(LONG, 0, entries)[4] == index


@pytest.mark.parametrize(
    ("registers", "address", "entries", "code"),
    [
        pytest.param(LONG, 0, long_tables(0), Code.PAGE_NOT_PRESENT, id="page"),
        pytest.param(LONG, 0, {}, Code.PAGE_NOT_PRESENT, id="root"),
        pytest.param(LONG, 1 << 47, {}, Code.PAGE_NOT_PRESENT, id="not-canonical"),
        pytest.param(SMALL, 1 << 32, {}, Code.PAGE_NOT_PRESENT, id="beyond-32-bits"),
        pytest.param(SMALL, 0, {ROOT: SECOND | 7}, Code.PAGE_NOT_PRESENT, id="small"),
        pytest.param(EXTENDED, 0, {}, Code.PAGE_NOT_PRESENT, id="pdpte"),
        *(
            pytest.param(registers, 0, entries, Code.INVALID_PAGE_TABLE_FLAGS, id=name)
            for name, registers, entries in (
                ("beyond-memory", LONG, long_tables(1 << 40 | 7)),
                ("no-execute", NO_NXE, long_tables(0x9000 | 7 | 1 << 63)),
                ("large-root", LONG, {ROOT: SECOND | LARGE | 7}),
                ("large-offset", LONG, long_tables(third=0x4000 | LARGE | 7)),
                ("large-4M", SMALL, {ROOT: 1 << 21 | LARGE | 7}),
                ("pdpte", EXTENDED, {ROOT + 0x20: SECOND | 3}),
            )
        ),
    ],
)
def test_faults(registers: PagingRegisters, address: int, entries: Entries, code: Code) -> None:
    assert fault(registers, address, entries) is code


def test_what_an_access_sets() -> None:
    result = walk(LONG, 0, lambda gpa, size: long_tables(0x9000 | 7)[gpa])
    assert [entry.gpa for entry in result.used] == [ROOT, SECOND, THIRD, FOURTH]
    last = result.used[-1]
    assert last == UsedEntry(FOURTH, 8, 0x9000 | 7, True)
    assert last.marked(written=False) == 0x9000 | 7 | ACCESSED
    assert last.marked(written=True) == 0x9000 | 7 | ACCESSED | DIRTY
    assert result.used[0].marked(written=True) == SECOND | 7 | ACCESSED
