import struct

import pytest

from hypercall.tlfs.gpa_range import GpaRange, gpa_range, gpa_ranges


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        pytest.param(0x200000, GpaRange(0x200, 1, False), id="one-page"),
        pytest.param(0x400001, GpaRange(0x400, 2, False), id="two-pages"),
        pytest.param(0x2007FF, GpaRange(0x200, 2048, False), id="B159"),
        pytest.param(0x4000_0800, GpaRange(0x40000, 512, True), id="2M"),
        pytest.param(0x4000_0803, GpaRange(0x40000, 2048, True), id="four-of-2M"),
        pytest.param(0x4000_1800, GpaRange(0x40000, 1 << 18, True), id="1G"),
        pytest.param(0x4020_1800, None, id="1G-not-aligned"),
        pytest.param(0x4000_2800, None, id="reserved"),
        pytest.param(0x4010_0800, None, id="reserved-20"),
    ],
)
def test_element(element: int, expected: GpaRange | None) -> None:
    assert gpa_range(element) == expected
    assert gpa_ranges(struct.pack("<QQ", 0, element)) == [GpaRange(0, 1, False), expected]
