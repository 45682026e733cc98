import pytest

from hypercall.partition.clock import ManualClock, ReferenceClock


def test_the_reference_counter_counts_100_ns_and_the_tsc_nanoseconds() -> None:
    time = ManualClock(1_234)
    clock = ReferenceClock(time.now)
    assert clock.reference_count() == 12
    assert clock.tsc() == 1_234
    time.advance(66)
    assert clock.reference_count() == 13


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        ManualClock().advance(-1)
