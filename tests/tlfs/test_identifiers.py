import pytest

from hypercall.tlfs.identifiers import input_vtl, vp_set_text


@pytest.mark.parametrize(
    ("value", "vtl"), [(0x00, 1), (0x02, 1), (0x10, 0), (0x12, 2), (0x1F, 15), (0x20, None)]
)
def test_input_vtl_of_a_caller_in_vtl_1(value: int, vtl: int | None) -> None:
    assert input_vtl(value, active_vtl=1) == vtl


@pytest.mark.parametrize(
    ("indexes", "text"),
    [([], "{}"), ([7], "{7}"), ([0, 1, 2, 3, 65], "{0-3,65}"), ([9, 8, 1], "{1,8-9}")],
)
def test_sets_with_runs_joined(indexes: list[int], text: str) -> None:
    assert vp_set_text(indexes) == text
