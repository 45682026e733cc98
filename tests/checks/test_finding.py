"""Findings are counted by place, and no guest can make any number of them."""

from hypercall.checks.finding import MOST_FINDINGS, Finding, Findings
from hypercall.checks.placement import ALIGNMENT, OVERLAP
from hypercall.trace.events import Position


def at(address: int, time: int = 0, vtl: int = 0) -> Position:
    return Position(time, 0, vtl, 0x5000, address)


def test_a_place_is_found_once_and_counted() -> None:
    new: list[Finding] = []
    findings = Findings(new.append)
    for time in (3, 5, 9):
        findings.add(OVERLAP, at(0x100, time), f"at {time}")
    (finding,) = findings.all()
    assert new == [finding]
    assert (finding.count, finding.position.time_ns, finding.last_ns) == (3, 3, 9)
    assert finding.text == "at 3"


def test_rules_places_and_levels_are_told_apart() -> None:
    findings = Findings()
    findings.add(OVERLAP, at(0x100), "a")
    findings.add(ALIGNMENT, at(0x100), "b")
    findings.add(OVERLAP, at(0x200), "c")
    findings.add(OVERLAP, at(0x100, vtl=1), "d")
    assert [finding.text for finding in findings.all()] == ["a", "b", "c", "d"]


def test_there_is_a_limit() -> None:
    findings = Findings()
    for address in range(MOST_FINDINGS + 7):
        findings.add(OVERLAP, at(address), "again")
    assert len(findings.all()) == MOST_FINDINGS
    assert findings.left_out == 7


def test_a_place_without_a_call_site_is_the_instruction() -> None:
    assert Position(0, 0, 0, 0x5000).place == 0x5000
    event = Finding(OVERLAP, Position(7, 1, 0, 0x5000), "text").event
    assert (event.rule, event.severity, event.text) == ("parameter-overlap", "error", "text")
