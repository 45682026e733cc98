from hypothesis import given
from hypothesis import strategies as st

from hypercall.tlfs.control import RESERVED_MASK, ControlWord, ResultValue


@given(st.integers(0, 2**64 - 1))
def test_every_word_is_taken_apart_and_put_together(value: int) -> None:
    assert ControlWord.parse(value).value == value


def test_fields_lie_where_the_tlfs_says() -> None:
    word = ControlWord.parse(0x0ABC_0DEF_87FF_1234)
    assert word.code == 0x1234
    assert word.fast
    assert word.variable_header_size == 0x3FF
    assert word.nested
    assert (word.rep_count, word.rep_start) == (0xDEF, 0xABC)
    assert word.reserved == 0
    assert RESERVED_MASK == 0xF000_F000_7800_0000


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFF))
def test_results(status: int, reps: int) -> None:
    result = ResultValue(status, reps)
    assert ResultValue.parse(result.value) == result
    assert ResultValue.parse(result.value | 0xFFFF_0000) == result
    assert result.value == status | reps << 32
