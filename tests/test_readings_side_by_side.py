"""Every reading has a demonstration, and the four sets answer as the table says."""

import pytest
from tests.readings_side_by_side import DEMONSTRATIONS

from hypercall.tlfs.readings import READINGS, SET_NAMES, Reading

NOT_SEEN = {"fast_xmm_gate"}
"""A call that knows XMM registers always needs them, so that the two answers are the same."""


def test_every_reading_has_a_demonstration() -> None:
    assert set(DEMONSTRATIONS) == {reading.name for reading in READINGS}


@pytest.mark.parametrize("like", SET_NAMES)
@pytest.mark.parametrize("name", DEMONSTRATIONS)
def test_what_is_seen(name: str, like: str) -> None:
    demonstration = DEMONSTRATIONS[name]
    assert demonstration.show(like) == getattr(demonstration, like)


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.name)
def test_answers_that_differ_are_seen_to_differ(reading: Reading) -> None:
    if reading.name in NOT_SEEN:
        return
    demonstration = DEMONSTRATIONS[reading.name]
    for one in SET_NAMES:
        for other in SET_NAMES:
            if reading.variants[one] != reading.variants[other]:
                assert getattr(demonstration, one) != getattr(demonstration, other)
