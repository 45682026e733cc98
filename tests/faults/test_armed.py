import pytest
from tests.faults.conftest import FakeHost

from hypercall.faults.armed import ArmedFault
from hypercall.faults.grammar import parse_fault


def arm(host: FakeHost, occurrences: str, number: int = 0) -> ArmedFault:
    text = f"call,status=5,{occurrences}".rstrip(",")
    return ArmedFault(parse_fault(text), host, number, lambda _: None, None)


def chosen(armed: ArmedFault, count: int = 12) -> list[int]:
    return [number for number in range(1, count + 1) if armed.chooses()]


@pytest.mark.parametrize(
    ("occurrences", "struck"),
    [
        ("", list(range(1, 13))),
        ("nth=3", [3]),
        ("every=4", [4, 8, 12]),
        ("every=4,times=2", [4, 8]),
        ("times=2", [1, 2]),
        ("p=0", []),
        ("p=1", list(range(1, 13))),
    ],
)
def test_which_occurrences_are_struck(host: FakeHost, occurrences: str, struck: list[int]) -> None:
    armed = arm(host, occurrences)
    assert chosen(armed) == struck
    assert armed.seen == 12


def test_a_share_comes_from_the_seed_the_text_and_the_number() -> None:
    first = chosen(arm(FakeHost(seed=1), "p=0.3"), 400)
    assert 80 < len(first) < 160
    assert chosen(arm(FakeHost(seed=1), "p=0.3"), 400) == first
    others = [
        chosen(arm(FakeHost(seed=2), "p=0.3"), 400),
        chosen(arm(FakeHost(seed=1), "p=0.3", number=1), 400),
        chosen(arm(FakeHost(seed=1), "p=0.3,vp=0"), 400),
    ]
    assert first not in others


def test_what_comes_before_its_time_is_not_counted(host: FakeHost) -> None:
    armed = arm(host, "nth=2,after=5us")
    host.time = 4_999
    assert chosen(armed) == []
    assert armed.seen == 0
    host.time = 5_000
    assert chosen(armed) == [2]


def test_what_is_not_confirmed_does_not_strike(host: FakeHost) -> None:
    answers = iter([False, True])
    fault = parse_fault("call,status=5,times=1")
    armed = ArmedFault(fault, host, 0, lambda _: None, lambda: next(answers))
    assert chosen(armed) == [2]


def test_a_strike_is_told_and_counted(host: FakeHost) -> None:
    armed = arm(host, "nth=1")
    armed.strike("something happened")
    assert armed.struck == 1
    assert host.told == ["something happened (call,nth=1,status=INVALID_PARAMETER)"]
