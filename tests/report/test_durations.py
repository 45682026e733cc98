from hypothesis import given
from hypothesis import strategies as st

from hypercall.report.durations import Durations


def of(*values: int) -> Durations:
    durations = Durations()
    for value in values:
        durations.add(value)
    return durations


def test_none_are_nothing() -> None:
    none = of()
    assert (none.count, none.mean, none.below(0.5), none.most) == (0, 0.0, 0, 0)


def test_short_ones_are_exact() -> None:
    some = of(*range(1, 11))
    assert (some.least, some.most, some.mean, some.total) == (1, 10, 5.5, 55)
    assert (some.below(0.5), some.below(0.99), some.below(1)) == (5, 10, 10)


def test_one_below_zero_counts_as_zero() -> None:
    assert (of(-5).least, of(-5).total) == (0, 0)


@given(st.lists(st.integers(0, 1 << 50), min_size=1), st.floats(0.01, 1))
def test_shares_are_near_the_truth(values: list[int], share: float) -> None:
    found = of(*values).below(share)
    truth = sorted(values)[min(len(values) - 1, max(0, -int(-share * len(values) // 1) - 1))]
    assert abs(found - truth) <= max(1, truth // 16) or found == min(values)


def test_the_room_does_not_grow_with_the_number() -> None:
    durations = of(*range(100_000))
    assert len(durations._classes) < 300
