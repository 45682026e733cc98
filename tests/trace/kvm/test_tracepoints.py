import pytest
from tests.trace.kvm.recordings import POINTS

from hypercall.trace.kvm.scan import Calls, Kind, TextSource, Words
from hypercall.trace.kvm.tracepoints import TRACEPOINTS, words


def test_each_kind_is_one_tracepoint_in_order() -> None:
    assert [point.kind for point in TRACEPOINTS] == list(Kind)
    assert len({point.name for point in TRACEPOINTS}) == len(TRACEPOINTS)


@pytest.mark.parametrize("point", TRACEPOINTS, ids=lambda point: point.name)
def test_fields_have_the_names_of_the_kernel(point: object) -> None:
    assert isinstance(point, type(TRACEPOINTS[0]))
    known = POINTS[point.name].offsets
    for each in point.fields:
        assert set(each.names) & set(known), each


def test_required_is_a_mask() -> None:
    call = TRACEPOINTS[Kind.HYPERCALL]
    names = [each.names[0] for each in call.fields]
    assert names.index("var_cnt") == 2
    assert call.required == 0b1111011


def test_the_words_are_read_in_any_order_and_unknown_ones_are_passed_over() -> None:
    source, calls = TextSource(words()), Calls(collect=True)
    source.feed(b" a-1 [0] 1.5: kvm_msr: more 7 = 0x5, msr_write 40000001 (#GP) [odd]\n", calls)
    (row,) = calls.take()
    assert row[0] == Kind.MSR
    assert row[6:10] == (0x40000001, 1, 5, 1)


def test_words_are_bounded() -> None:
    with pytest.raises(ValueError, match="x" * 60):
        Words([(0, b"x" * 60, 0, [])])
    with pytest.raises(ValueError, match="name"):
        Words([(99, b"name", 0, [])])
