"""The checks of a live machine: events, stops, and runs that are the same with them."""

from typing import Any

import pytest
from tests.guests.assembly import call
from tests.guests.kit import Guest
from tests.guests.layout import INPUT

from hypercall.checks.finding import Finding
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.trace.events import FindingEvent, HypercallEvent
from mistaken_guests import MISTAKES
from mistaken_guests.mistake import Mistake
from mistakes import LIMIT_NS, machine_for, run

LOOK = "test eax, eax"
EMPTY = f"{call(0x2, INPUT)}\n{LOOK}"
MEMORY = {INPUT: b"\0\x10".ljust(24, b"\0")}


def test_a_finding_is_an_event_behind_its_call() -> None:
    machine = Guest(f"{EMPTY}\n{EMPTY}", memory=MEMORY).machine()
    events: list[Any] = []
    machine.trace.subscribe(events.append, HypercallEvent, FindingEvent)
    checks = machine.check()
    machine.run(limit_ns=1_000_000)
    kinds = [type(event) for event in events]
    assert kinds == [HypercallEvent, FindingEvent, HypercallEvent, FindingEvent]
    assert events[1].rule == "empty-processor-set"
    assert events[1].position.call_site == events[0].position.call_site
    assert machine.check() is checks is machine.checks
    assert checks.failures == checks.findings


def test_a_run_can_be_paused_at_a_finding() -> None:
    machine = Guest(f"{EMPTY}\n{call(0x1_5555)}\n{LOOK}", memory=MEMORY).machine()
    machine.check().on_new.append(lambda finding: machine.pause())
    assert machine.run(limit_ns=1_000_000).reason is StopReason.PAUSED
    assert [finding.rule.name for finding in machine.check().findings] == ["empty-processor-set"]
    assert machine.run(limit_ns=1_000_000).reason is StopReason.PAUSED
    assert machine.check().findings[1].rule.name == "unknown-call"


def test_the_end_is_looked_at_once() -> None:
    mistake = next(each for each in MISTAKES if each.rule == "missing-eom")
    outcome = run(mistake)
    assert outcome.machine.check().finish() == outcome.findings
    assert outcome.findings[0].count == 1


REMEMBERING = (
    "hopeless-retry",
    "apic-id-as-vp-index",
    "vp-index-as-apic-id",
    "early-output-read",
    "missing-eom",
    "spin-notify-too-often",
    "spin-without-notify",
    "vtl-return-state",
    "stale-translation",
)


def told(findings: list[Finding]) -> list[tuple[object, ...]]:
    return [
        (each.rule.name, each.address, each.count, each.last_ns, each.text, each.code)
        for each in findings
    ]


def guests() -> list[Any]:
    """All guests, and the twins of those whose rules must remember something."""
    return [
        pytest.param(mistake, right, id=f"{mistake.rule}{'-twin' if right else ''}")
        for mistake in MISTAKES
        for right in (False, True)
        if not right or mistake.rule in REMEMBERING
    ]


@pytest.mark.parametrize(("mistake", "right"), guests())
def test_what_is_found_after_going_back_is_what_an_unbroken_run_finds(
    mistake: Mistake, right: bool
) -> None:
    unbroken = run(mistake, right=right)
    expected, length = told(unbroken.findings), unbroken.result.virtual_ns
    machine, _ = machine_for(mistake, right=right)
    checks = machine.check(stale=mistake.stale)
    snapshots = [(machine.snapshot(), told(checks.findings))]
    for part in (1, 2, 3):
        if machine.run(length * part // 4).reason is not StopReason.LIMIT:
            break
        snapshots.append((machine.snapshot(), told(checks.findings)))
    for snapshot, so_far in [*snapshots[1:], snapshots[0]]:
        machine.restore(snapshot)
        assert told(checks.findings) == so_far
        machine.run(LIMIT_NS)
        assert told(checks.finish()) == expected


@pytest.mark.parametrize(
    "rule", ["empty-processor-set", "apic-id-as-vp-index", "stale-translation"]
)
def test_checks_that_began_after_a_snapshot_begin_anew_when_it_is_restored(rule: str) -> None:
    mistake = next(each for each in MISTAKES if each.rule == rule)
    for right in (False, True):
        expected = told(run(mistake, right=right).findings)
        machine, _ = machine_for(mistake, right=right)
        snapshot = machine.snapshot()
        machine.run(1000)
        checks = machine.check(stale=mistake.stale)
        machine.run(LIMIT_NS)
        checks.finish()
        for _ in range(2):
            machine.restore(snapshot)
            assert checks.findings == []
            machine.run(LIMIT_NS)
            assert told(checks.finish()) == expected


def test_who_is_watched_from_the_middle_is_not_blamed_for_what_nobody_saw() -> None:
    """The guest asks for a VP index before the checks begin, and names it after."""
    mistake = next(each for each in MISTAKES if each.rule == "apic-id-as-vp-index")
    machine, _ = machine_for(mistake, right=True)
    calls: list[object] = []
    machine.trace.subscribe(calls.append, HypercallEvent)
    machine.trace.subscribe(lambda event: machine.pause(), HypercallEvent)
    machine.run(LIMIT_NS)
    assert len(calls) == 1
    checks = machine.check()
    machine.run(LIMIT_NS)
    assert len(calls) == 2
    machine.run(LIMIT_NS)
    assert checks.finish() == []


def test_a_finding_is_new_again_after_going_back() -> None:
    machine = Guest(f"{EMPTY}\n{EMPTY}", memory=MEMORY).machine()
    new: list[str] = []
    events: list[Any] = []
    machine.trace.subscribe(events.append, FindingEvent)
    machine.check().on_new.append(lambda finding: new.append(finding.rule.name))
    snapshot = machine.snapshot()
    machine.run(limit_ns=1_000_000)
    first = list(events)
    machine.restore(snapshot)
    machine.run(limit_ns=1_000_000)
    assert events == first * 2
    assert new == ["empty-processor-set"] * 4


def test_checks_of_one_user_are_gone_for_the_next() -> None:
    machine = Guest(f"{EMPTY}\n{EMPTY}", memory=MEMORY).machine()
    forget_users = machine.remember_users()
    snapshot = machine.snapshot()

    def findings(machine: Machine) -> int:
        checks = machine.check(stale=True)
        machine.run(limit_ns=1_000_000)
        return len(checks.finish())

    for _ in range(2):
        assert findings(machine) == 2
        forget_users()
        machine.restore(snapshot)
        assert machine.checks is None


def test_checks_that_ended_watch_no_more() -> None:
    mistake = next(each for each in MISTAKES if each.rule == "early-output-read")
    machine, _ = machine_for(mistake)
    checks = machine.check(stale=True)
    machine.run(limit_ns=100_000)
    checks.end()
    machine.run(LIMIT_NS)
    assert checks.findings == []
    assert not machine.trace.active
