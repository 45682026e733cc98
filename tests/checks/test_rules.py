"""Each rule finds the mistake of its guest, exactly there, and nothing in the guest's twin."""

import pytest

from hypercall.checks.rules import RULES, find_rule
from hypercall.errors import InputError
from hypercall.machine.result import StopReason
from mistaken_guests import MISTAKES
from mistaken_guests.messages import REST
from mistaken_guests.mistake import Mistake
from mistakes import run

GUESTS = {mistake.rule: mistake for mistake in MISTAKES}


def test_every_rule_has_a_guest_that_breaks_it() -> None:
    assert list(GUESTS) == [rule.name for rule in RULES]


@pytest.mark.parametrize("mistake", GUESTS.values(), ids=list(GUESTS))
def test_a_rule_is_broken_once_and_found_there(mistake: Mistake) -> None:
    outcome = run(mistake)
    found = [(finding.rule.name, finding.address) for finding in outcome.findings]
    assert found == [(mistake.rule, outcome.mistake)]
    (finding,) = outcome.findings
    assert finding.text.endswith(".")
    assert finding.code


@pytest.mark.parametrize("mistake", GUESTS.values(), ids=list(GUESTS))
def test_the_twin_breaks_no_rule(mistake: Mistake) -> None:
    outcome = run(mistake, right=True)
    assert outcome.findings == []
    reason, rests = outcome.result.reason, REST in mistake.right
    assert reason is (StopReason.DEADLOCK if rests else StopReason.DEBUG_EXIT)
    assert not outcome.result.exit_code


def test_rules_are_found_by_their_names() -> None:
    assert find_rule("Slow_Form").name == "slow-form"
    with pytest.raises(InputError, match="did you mean parameter-overlap"):
        find_rule("overlap")


def test_rules_have_words() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.summary.endswith("."), rule.name
        assert rule.why.endswith("."), rule.name
        assert rule.section, rule.name
