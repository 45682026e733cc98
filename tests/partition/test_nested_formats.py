import pytest

from hypercall.partition.nested_formats import EptFormat, NestedAccess, NptFormat

R, W, X = NestedAccess
BITS = 40


@pytest.mark.parametrize(
    ("root", "valid"),
    [
        pytest.param(0x101E, True, id="write-back"),
        pytest.param(0x1018, True, id="uncached"),
        pytest.param(0x105E, True, id="accessed-and-dirty"),
        pytest.param(0x101C, False, id="memory-type-4"),
        pytest.param(0x1026, False, id="five-levels"),
        pytest.param(0x109E, False, id="reserved"),
        pytest.param(1 << 40 | 0x1E, False, id="too-wide"),
    ],
)
def test_ept_pointers(root: int, valid: bool) -> None:
    assert EptFormat().root_valid(root, BITS) is valid


@pytest.mark.parametrize(
    ("entry", "level", "leaf", "access"),
    [
        pytest.param(0x2000 | 7, 3, False, R | W | X, id="table"),
        pytest.param(0x2000 | 1 << 8 | 7, 1, False, R | W | X, id="used-table"),
        pytest.param(0x2000 | 6 << 3 | 1, 0, True, R, id="read-only"),
        pytest.param(0x2000 | 4, 0, True, X, id="execute-only"),
        pytest.param(0x200000 | 1 << 7 | 6 << 3 | 3, 1, True, R | W, id="2M"),
        pytest.param(0x40000000 | 1 << 7 | 7, 2, True, R | W | X, id="1G"),
    ],
)
def test_ept_entries(entry: int, level: int, leaf: bool, access: NestedAccess) -> None:
    tables = EptFormat()
    assert tables.present(entry)
    read = tables.read(entry, level, BITS)
    assert read is not None
    assert (read.leaf, read.access) == (leaf, access)


@pytest.mark.parametrize(
    ("entry", "level"),
    [
        pytest.param(0x2000 | 2, 0, id="write-only"),
        pytest.param(0x2000 | 6, 0, id="write-execute"),
        pytest.param(0x2000 | 2 << 3 | 7, 0, id="memory-type-2"),
        pytest.param(0x2000 | 7 << 3 | 7, 0, id="memory-type-7"),
        pytest.param(0x201000 | 1 << 7 | 7, 1, id="2M-not-aligned"),
        pytest.param(0x200000 | 1 << 7 | 7, 2, id="1G-not-aligned"),
        pytest.param(0x2000 | 1 << 3 | 7, 2, id="table-with-memory-type"),
        pytest.param(0x2000 | 1 << 7 | 7, 3, id="large-root-entry"),
        pytest.param(1 << 40 | 7, 0, id="beyond-the-address-width"),
    ],
)
def test_ept_misconfigurations(entry: int, level: int) -> None:
    assert EptFormat().read(entry, level, BITS) is None


def test_ept_entries_without_access_are_not_present() -> None:
    assert not EptFormat().present(0x2000 | 6 << 3)


@pytest.mark.parametrize(
    ("entry", "level", "leaf", "access"),
    [
        pytest.param(0x2000 | 7, 3, False, R | W | X, id="table"),
        pytest.param(0x2000 | 5, 0, True, R | X, id="read-only"),
        pytest.param(1 << 63 | 0x2000 | 7, 0, True, R | W, id="no-execute"),
        pytest.param(0x2000 | 3, 0, True, NestedAccess(0), id="not-for-users"),
        pytest.param(0x200000 | 1 << 12 | 0x87, 1, True, R | W | X, id="2M-with-PAT"),
    ],
)
def test_npt_entries(entry: int, level: int, leaf: bool, access: NestedAccess) -> None:
    read = NptFormat().read(entry, level, BITS)
    assert read is not None
    assert (read.leaf, read.access) == (leaf, access)


@pytest.mark.parametrize(
    ("entry", "level"),
    [
        pytest.param(0x202000 | 0x87, 1, id="2M-not-aligned"),
        pytest.param(0x2000 | 0x87, 3, id="large-root-entry"),
        pytest.param(1 << 45 | 7, 0, id="beyond-the-address-width"),
    ],
)
def test_npt_reserved_bits(entry: int, level: int) -> None:
    assert NptFormat().read(entry, level, BITS) is None


def test_npt_presence_and_roots() -> None:
    tables = NptFormat()
    assert not tables.present(0x2006)
    assert tables.root_valid(0x1000, BITS)
    assert not tables.root_valid(1 << 40, BITS)
    assert tables.tracks_use(0x1000)
    assert [EptFormat().tracks_use(root) for root in (0x1E, 0x5E)] == [False, True]
