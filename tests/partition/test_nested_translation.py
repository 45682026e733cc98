import pytest

from hypercall.errors import InputError
from hypercall.partition.memory import GuestMemory, Permission
from hypercall.partition.nested_formats import NestedAccess, NestedFormat
from hypercall.partition.nested_translation import (
    NestedFault,
    NestedFaultKind,
    NestedTranslation,
)

READ, WRITE, EXECUTE = NestedAccess
ROOT, TABLE_3, TABLE_2, TABLE_1 = 0x10000, 0x11000, 0x12000, 0x13000
EPT_ROOT = ROOT | 0x1E
EPT_TRACKING = ROOT | 0x5E
WRITE_BACK = 6 << 3
ACCESSED, DIRTY = 1 << 8, 1 << 9


@pytest.fixture
def memory() -> GuestMemory:
    """Tables that map 4 KiB pages from 0, 2 MiB from 2 MiB and 1 GiB from 1 GiB on."""
    memory = GuestMemory(bytearray(1 << 20), bytearray(1 << 16))
    memory.write_u64(ROOT, TABLE_3 | 7)
    memory.write_u64(TABLE_3, TABLE_2 | 7)
    memory.write_u64(TABLE_3 + 8, 0x80000000 | 1 << 7 | WRITE_BACK | 7)
    memory.write_u64(TABLE_2, TABLE_1 | 7)
    memory.write_u64(TABLE_2 + 8, 0x600000 | 1 << 7 | WRITE_BACK | 5)
    memory.write_u64(TABLE_1, 0x40000 | WRITE_BACK | 7)
    memory.write_u64(TABLE_1 + 8, 0x41000 | WRITE_BACK | 1)
    return memory


@pytest.fixture
def nested(memory: GuestMemory) -> NestedTranslation:
    nested = NestedTranslation(memory)
    nested.register(EPT_ROOT, NestedFormat.EPT)
    return nested


@pytest.mark.parametrize(
    ("gpa", "access", "expected"),
    [
        pytest.param(0x123, READ, 0x40123, id="4K"),
        pytest.param(0x1FFF, READ, 0x41FFF, id="second-page"),
        pytest.param(0x234567, READ | EXECUTE, 0x634567, id="2M"),
        pytest.param(0x7FFFFFFF, WRITE, 0xBFFFFFFF, id="1G"),
    ],
)
def test_pages_of_each_size(
    nested: NestedTranslation, gpa: int, access: NestedAccess, expected: int
) -> None:
    assert nested.translate(EPT_ROOT, gpa, access) == expected
    assert nested.translate(ROOT, gpa, access) == expected


@pytest.mark.parametrize(
    ("gpa", "access", "level"),
    [
        pytest.param(0x1000, WRITE, 0, id="read-only"),
        pytest.param(0x1000, READ | EXECUTE, 0, id="no-execute"),
        pytest.param(0x200000, WRITE, 1, id="2M-without-write"),
        pytest.param(0x2000, READ, 0, id="no-page"),
        pytest.param(0x400000, READ, 1, id="no-table"),
        pytest.param(1 << 39, READ, 3, id="no-root-entry"),
    ],
)
def test_violations(nested: NestedTranslation, gpa: int, access: NestedAccess, level: int) -> None:
    with pytest.raises(NestedFault) as caught:
        nested.translate(ROOT, gpa, access)
    fault = caught.value
    assert (fault.kind, fault.gpa, fault.access, fault.level) == (
        NestedFaultKind.VIOLATION,
        gpa,
        access,
        level,
    )
    assert nested.find(ROOT) is not None
    assert nested.spaces[0].cached(0) == []


def test_rights_are_those_of_all_levels(memory: GuestMemory, nested: NestedTranslation) -> None:
    memory.write_u64(TABLE_3, TABLE_2 | 1)
    assert nested.translate(ROOT, 0) == 0x40000
    with pytest.raises(NestedFault):
        nested.translate(ROOT, 0, WRITE)


def test_misconfiguration_and_tables_where_no_memory_is(
    memory: GuestMemory, nested: NestedTranslation
) -> None:
    memory.write_u64(TABLE_1, 0x40000 | 2)
    with pytest.raises(NestedFault) as caught:
        nested.translate(ROOT, 0)
    assert caught.value.kind is NestedFaultKind.MISCONFIGURATION
    memory.write_u64(TABLE_2, 0x80000000 | 7)
    with pytest.raises(NestedFault) as caught:
        nested.translate(ROOT, 0)
    assert caught.value.kind is NestedFaultKind.TABLE_INACCESSIBLE


def test_a_translation_stays_until_a_flush_names_it(
    memory: GuestMemory, nested: NestedTranslation
) -> None:
    nested.translate(ROOT, 0, vp_index=0)
    nested.translate(ROOT, 0, vp_index=1)
    memory.write_u64(TABLE_1, 0x50000 | WRITE_BACK | 7)
    assert nested.translate(ROOT, 0, vp_index=0) == 0x40000
    assert nested.translate(ROOT, 0, vp_index=2) == 0x50000
    nested.flush_space(EPT_ROOT)
    assert nested.translate(ROOT, 0, vp_index=0) == 0x50000
    assert nested.translate(ROOT, 0, vp_index=1) == 0x50000


def test_what_is_remembered_without_the_right_is_looked_up_anew(
    memory: GuestMemory, nested: NestedTranslation
) -> None:
    nested.translate(ROOT, 0x1000)
    memory.write_u64(TABLE_1 + 8, 0x42000 | WRITE_BACK | 3)
    assert nested.translate(ROOT, 0x1000) == 0x41000
    assert nested.translate(ROOT, 0x1000, WRITE) == 0x42000
    assert nested.translate(ROOT, 0x1000) == 0x42000


def test_a_flush_of_ranges_drops_just_the_pages_it_overlaps(nested: NestedTranslation) -> None:
    space = nested.spaces[0]
    everything = [(0, 0x1000), (0x1000, 0x1000), (0x200000, 0x200000), (1 << 30, 1 << 30)]
    for vp_index in (0, 5):
        for gpa, _ in everything:
            nested.translate(ROOT, gpa, vp_index=vp_index)
        assert space.cached(vp_index) == everything
    nested.flush_ranges(EPT_ROOT, [(1, 1)])
    assert space.cached(0) == space.cached(5) == [everything[0], *everything[2:]]
    nested.flush_ranges(ROOT, [(0x3FF, 1), (2, 3)])
    assert space.cached(0) == [everything[0], everything[3]]
    nested.flush_ranges(ROOT, [(0, 1 << 30)])
    assert space.cached(0) == space.cached(5) == []


def test_other_spaces_keep_theirs(memory: GuestMemory, nested: NestedTranslation) -> None:
    other = 0x20000
    memory.write_u64(other, TABLE_3 | 7)
    nested.register(other | 0x1E, NestedFormat.EPT)
    nested.translate(ROOT, 0)
    nested.translate(other, 0)
    nested.flush_space(ROOT)
    assert [space.cached(0) for space in nested.spaces] == [[], [(0, 0x1000)]]
    nested.flush_space(0x30000)
    nested.flush_ranges(0x30000, [(0, 1)])
    assert nested.spaces[1].cached(0)
    nested.forget(other)
    assert nested.find(other) is None


def test_accessed_and_dirty_bits(memory: GuestMemory, nested: NestedTranslation) -> None:
    nested.translate(ROOT, 0, WRITE)
    assert memory.read_u64(TABLE_1) == 0x40000 | WRITE_BACK | 7
    nested.register(EPT_TRACKING, NestedFormat.EPT)
    nested.translate(ROOT, 0)
    assert memory.read_u64(ROOT) == TABLE_3 | ACCESSED | 7
    assert memory.read_u64(TABLE_1) == 0x40000 | WRITE_BACK | ACCESSED | 7
    nested.translate(ROOT, 0, WRITE)
    assert memory.read_u64(TABLE_1) == 0x40000 | WRITE_BACK | ACCESSED | DIRTY | 7
    assert memory.read_u64(TABLE_2) == TABLE_1 | ACCESSED | 7


def test_npt(memory: GuestMemory) -> None:
    nested = NestedTranslation(memory)
    root = 0x30000
    memory.write_u64(root, 0x31000 | 7)
    memory.write_u64(0x31000, 0x32000 | 7)
    memory.write_u64(0x32000, 0xA00000 | 0x87 | 1 << 63)
    nested.register(root, NestedFormat.NPT)
    assert nested.translate(root, 0x12345, WRITE) == 0xA12345
    assert memory.read_u64(0x32000) == 0xA00000 | 0xE7 | 1 << 63
    with pytest.raises(NestedFault):
        nested.translate(root, 0x12345, EXECUTE)


def test_bad_use(nested: NestedTranslation) -> None:
    with pytest.raises(InputError, match="no root of EPT"):
        nested.register(0x10000, NestedFormat.EPT)
    with pytest.raises(InputError, match="register it first"):
        nested.translate(0x50000, 0)
    with pytest.raises(InputError, match="2\\*\\*48"):
        nested.translate(ROOT, 1 << 48)
    nested.reset()
    assert nested.spaces == ()


def test_who_runs_a_nested_guest(nested: NestedTranslation) -> None:
    with pytest.raises(InputError, match="register it first"):
        nested.run(0x50000)
    nested.run(ROOT, vp_index=1, vtl=2)
    assert [nested.running(1, vtl) for vtl in range(3)] == [None, None, ROOT]
    assert nested.running(0, 2) is None
    nested.stop(vp_index=1, vtl=2)
    nested.stop(vp_index=1, vtl=2)
    assert nested.running(1, 2) is None
    nested.run(EPT_ROOT)
    nested.forget(ROOT)
    assert nested.running(0, 0) is None
    nested.register(EPT_ROOT, NestedFormat.EPT)
    nested.run(ROOT)
    nested.reset()
    assert nested.running(0, 0) is None


def test_bits_that_cannot_be_set_are_a_fault(
    memory: GuestMemory, nested: NestedTranslation
) -> None:
    nested.register(EPT_TRACKING, NestedFormat.EPT)
    memory.restrict(TABLE_1 >> 12, Permission.READ)
    with pytest.raises(NestedFault) as raised:
        nested.translate(ROOT, 0)
    assert raised.value.kind is NestedFaultKind.TABLE_INACCESSIBLE
