from hypothesis import given
from hypothesis import strategies as st

from hypercall.tlfs.vp_set import indexes, pack_sparse, sparse_bitmap


def test_a025_the_documentations_example() -> None:
    bitmap = sparse_bitmap(0x5, (0x21).to_bytes(8, "little") + (0x4).to_bytes(8, "little"))
    assert bitmap is not None
    assert indexes(bitmap) == [0, 5, 130]


def test_another_number_of_banks_than_the_mask_says() -> None:
    assert sparse_bitmap(0x5, bytes(8)) is None
    assert sparse_bitmap(0x1, bytes(16)) is None
    assert sparse_bitmap(0, b"") == 0


@given(st.sets(st.integers(0, 4095), max_size=80))
def test_round_trip(chosen: set[int]) -> None:
    mask, banks = pack_sparse(sorted(chosen))
    bitmap = sparse_bitmap(mask, banks)
    assert bitmap is not None
    assert indexes(bitmap) == sorted(chosen)
