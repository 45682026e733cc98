"""The checks of a live machine: events, stops, and runs that are the same with them."""

from typing import Any

from tests.guests.assembly import call
from tests.guests.kit import Guest
from tests.guests.layout import INPUT

from hypercall.machine.result import StopReason
from hypercall.trace.events import FindingEvent, HypercallEvent
from mistaken_guests import MISTAKES
from mistakes import run

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
