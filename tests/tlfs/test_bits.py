from hypothesis import given
from hypothesis import strategies as st

from hypercall.tlfs.bits import BitField, defined_mask


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 63), st.data())
def test_set_changes_the_field_alone(
    register: int, value: int, shift: int, data: st.DataObject
) -> None:
    field = BitField("f", shift, data.draw(st.integers(1, 64 - shift)))
    changed = field.set(register, value)
    assert field.get(changed) == value & ((1 << field.width) - 1)
    assert (changed ^ register) & ~field.mask == 0


def test_defined_mask() -> None:
    assert defined_mask(BitField("a", 0), BitField("b", 12, 4)) == 0xF001
