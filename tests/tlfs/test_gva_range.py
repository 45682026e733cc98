from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.tlfs.gva_range import gpa_ranges, range_text, ranges


@pytest.mark.parametrize(
    ("value", "extended", "expected"),
    [
        pytest.param(0x7F00_0000_1000, False, (0x7F00_0000_1000, 1), id="simple"),
        pytest.param(0x1FFF, False, (0x1000, 4096), id="simple-most"),
        pytest.param(0x17FF, True, (0x1000, 2048), id="extended-most"),
        pytest.param(0x400800, True, (0x400000, 512), id="B045"),
        pytest.param(0x40001800, True, (0x40000000, 262144), id="B046"),
        pytest.param(0x400803, True, (0x400000, 2048), id="four-large-pages"),
        pytest.param(0xFFFF_8000_0000_0FFF, False, (0xFFFF_8000_0000_0000, 4096), id="kernel"),
    ],
)
def test_one_element(value: int, extended: bool, expected: tuple[int, int]) -> None:
    data = pack("<Q", value)
    assert ranges(data, extended) == [expected]
    assert range_text(value, extended).startswith(f"{expected[0]:#x}+{expected[1]} page")
    if extended:
        assert gpa_ranges(data) == [expected]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.booleans())
def test_lists(values: list[int], extended: bool) -> None:
    data = memoryview(pack(f"<{len(values)}Q", *values))
    found = ranges(data, extended)
    assert len(found) == len(values)
    assert all(address % 4096 == 0 and pages >= 1 for address, pages in found)


def test_text() -> None:
    assert range_text(0x1000, False) == "0x1000+1 page"
    assert range_text(0x1002, False) == "0x1000+3 pages"
