import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.layout import Field, FieldKind, ReservedRule, Structure, reserved
from hypercall.tlfs.reference import structures_of

STRUCTURES = [
    pytest.param(structure, id=f"{declaration.code:#06x}-{heading}")
    for declaration in DECLARATIONS
    for heading, structure in structures_of(declaration)
]


def test_values_come_in_order_without_padding_and_reserved_fields() -> None:
    structure = Structure(
        "S",
        (
            Field("last", 12, 4),
            Field("first", 0, 4),
            reserved(4, 2),
            reserved(6, 1, ReservedRule.IGNORED),
            Field("text", 8, 3, FieldKind.BYTES),
        ),
    )
    assert structure.field_names == ("first", "text", "last")
    data = bytes.fromhex("01000000 ffff ff ff 616263 ff 02000000")
    assert structure.unpack(data) == (1, b"abc", 2)
    assert structure.unpack(b"\0\0" + data, 2) == (1, b"abc", 2)
    assert (structure.size, structure.padded_size) == (16, 16)


def test_reserved_mask_has_the_fields_that_must_be_zero() -> None:
    structure = Structure(
        "S", (Field("a", 0, 1), reserved(1, 2), reserved(3, 1, ReservedRule.IGNORED))
    )
    assert structure.reserved_mask == 0x00FFFF00


def test_overlap_and_equal_names_are_refused() -> None:
    with pytest.raises(ValueError, match="overlaps"):
        Structure("S", (Field("a", 0, 8), Field("b", 4, 4)))
    with pytest.raises(ValueError, match="one name"):
        Structure("S", (Field("a", 0, 8), Field("a", 8, 4)))


def test_pack_refuses_unknown_names_and_values_that_do_not_fit() -> None:
    structure = Structure("S", (Field("a", 0, 1),))
    with pytest.raises(TypeError, match="no field b"):
        structure.pack(b=1)
    with pytest.raises(struct.error):
        structure.pack(a=256)


@pytest.mark.parametrize("structure", STRUCTURES)
@given(data=st.data())
@settings(max_examples=8, deadline=None)
def test_pack_and_unpack_are_inverse(structure: Structure, data: st.DataObject) -> None:
    values: dict[str, int | bytes] = {}
    for field in structure.values:
        if field.is_integer:
            values[field.name] = data.draw(st.integers(0, 256**field.size - 1))
        else:
            values[field.name] = data.draw(st.binary(min_size=field.size, max_size=field.size))
    packed = structure.pack(**values)
    assert len(packed) == structure.size
    assert structure.unpack_named(packed) == values
    assert int.from_bytes(packed, "little") & structure.reserved_mask == 0
