from typing import Any

import pytest

from hypercall.trace.description import RunDescription


def test_it_goes_to_a_dictionary_and_back() -> None:
    whole = RunDescription(
        "hypercall", "vmlinuz", "quiet", 4, 1 << 28, 7, "kvm", 1 << 54, 2, 3, 4, 5
    )
    known = whole.as_dictionary()
    assert known["privileges"] == "0x40000000000000"
    assert known["cpus"] == 4
    assert RunDescription.from_dictionary(known) == whole


def test_what_is_not_known_is_left_out() -> None:
    assert RunDescription(seed=0).as_dictionary() == {"seed": 0}
    assert RunDescription.from_dictionary({"colour": "blue"}) == RunDescription()


@pytest.mark.parametrize(
    "known",
    [
        {"image": 5},
        {"cpus": "two"},
        {"cpus": True},
        {"cpus": -1},
        {"memory": 1 << 64},
        {"privileges": 5},
        {"privileges": "banana"},
        {"features": "-0x1"},
    ],
)
def test_senseless_values_are_refused(known: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no sensible value|invalid literal"):
        RunDescription.from_dictionary(known)
