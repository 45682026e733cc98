"""What processors do not show: modes and rights that a guest's own code seldom has."""

import pytest

from hypercall.oracle import Oracle
from hypercall.partition.gva_translation import GvaTranslation, translate
from hypercall.partition.nested_formats import NestedFormat
from hypercall.tlfs.call_flags import CacheType
from hypercall.tlfs.call_flags import TranslateGvaFlags as F
from hypercall.tlfs.call_flags import TranslateGvaResultCode as Code
from hypercall.tlfs.registers import RegisterName as R

TABLE = 0x8000
USER_CODE = 3 << 96


@pytest.fixture
def oracle() -> Oracle:
    """A processor that is in 32-bit paging, with pages 0 to 7 to themselves."""
    oracle = Oracle()
    effects = oracle.partition.effects
    for name, value in ((R.CR0, 0x80010001), (R.CR3, TABLE), (R.PAT, 0x0007040600070406)):
        effects.write_register(oracle.partition.bootstrap, 0, name, value)
    memory = oracle.partition.memory
    memory.write_u32(TABLE, TABLE + 0x1000 | 7)
    for page in range(8):
        memory.write_u32(TABLE + 0x1000 + 4 * page, page << 12 | 3)
    return oracle


def ask(oracle: Oracle, address: int, flags: F = F.VALIDATE_READ) -> GvaTranslation:
    return translate(oracle.partition.bootstrap.current, address, flags)


def register(oracle: Oracle, name: R, value: int) -> None:
    oracle.partition.effects.write_register(oracle.partition.bootstrap, 0, name, value)


def test_user_code_by_its_selector(oracle: Oracle) -> None:
    assert ask(oracle, 0x3000) == GvaTranslation(Code.SUCCESS, 3, CacheType.WRITE_BACK)
    register(oracle, R.CS, USER_CODE)
    assert ask(oracle, 0x3000).code is Code.PRIVILEGE_VIOLATION
    assert ask(oracle, 0x3000, F.VALIDATE_READ | F.SUPERVISOR_ACCESS).code is Code.SUCCESS
    assert ask(oracle, 0x3000, F.VALIDATE_READ | F.PRIVILEGE_EXEMPT).code is Code.SUCCESS


@pytest.mark.parametrize(
    ("entry", "cache_type"),
    [
        (0x00, CacheType.WRITE_BACK),
        (0x08, CacheType.WRITE_THROUGH),
        (0x10, CacheType.UNCACHED),
        (0x18, CacheType.UNCACHED),
    ],
)
def test_cache_types(oracle: Oracle, entry: int, cache_type: CacheType) -> None:
    oracle.partition.memory.write_u32(TABLE + 0x1000 + 8, 0x2000 | 3 | entry)
    assert ask(oracle, 0x2000).cache_type is cache_type


def test_bits_are_set_in_entries_of_four_bytes(oracle: Oracle) -> None:
    asked = F.VALIDATE_WRITE | F.SET_PAGE_TABLE_BITS
    assert ask(oracle, 0x5000, asked).code is Code.SUCCESS
    memory = oracle.partition.memory
    assert memory.read_u32(TABLE) & 0x60 == 0x20
    assert [memory.read_u32(TABLE + 0x1000 + 4 * page) & 0x60 for page in (4, 5, 6)] == [0, 0x60, 0]


def test_bits_that_cannot_be_set_leave_all_as_it_was(oracle: Oracle) -> None:
    memory = oracle.partition.memory
    permissions = memory.host_permissions(0)
    memory.restrict((TABLE + 0x1000) >> 12, permissions & ~permissions.WRITE)
    asked = F.VALIDATE_READ | F.SET_PAGE_TABLE_BITS
    assert ask(oracle, 0x5000, asked).code is Code.GPA_NO_WRITE_ACCESS
    assert memory.read_u32(TABLE) == TABLE + 0x1000 | 7


def test_tables_beyond_memory(oracle: Oracle) -> None:
    register(oracle, R.CR3, 0x4000_0000)
    assert ask(oracle, 0).code is Code.GPA_UNMAPPED


def test_a_nested_guest_that_its_tables_forbid(oracle: Oracle) -> None:
    memory, nested = oracle.partition.memory, oracle.partition.nested
    root = 0x10000
    for gpa, entry in ((root, 0x11007), (0x11000, 0x12007), (0x12000, 0x13007)):
        memory.write_u64(gpa, entry)
    for page in (*range(2), TABLE >> 12, (TABLE >> 12) + 1):
        memory.write_u64(0x13000 + 8 * page, (page << 12) | 6 << 3 | 1)
    nested.register(root | 0x1E, NestedFormat.EPT)
    nested.run(root)
    assert ask(oracle, 0x1000).gpa_page == 1
    assert ask(oracle, 0x1000, F.VALIDATE_WRITE).code is Code.INTERCEPT
    assert ask(oracle, 0x1000, F.VALIDATE_READ | F.SET_PAGE_TABLE_BITS).code is Code.INTERCEPT
    assert ask(oracle, 0x2000).code is Code.INTERCEPT
    nested.stop()
    assert ask(oracle, 0x2000).code is Code.SUCCESS
