from tests.checks.records import record

from hypercall.checks.checker import Checker
from hypercall.checks.facts import Facts
from hypercall.checks.offers import OfferCheck, RecommendationCheck
from hypercall.trace.events import Event, HypercallEvent, MsrEvent, Position

WHERE = Position(9, 0, 0, 0x1000)


class Watched(Facts):
    """A machine that recommends MSRs for the local APIC and whose devices were written often."""

    recommendations = 1 << 3
    writes: int | None = 5000

    def device_writes(self) -> int | None:
        return self.writes


def found(facts: Facts, *events: MsrEvent) -> list[str]:
    checker = Checker(facts, checks=[RecommendationCheck])
    for event in events:
        checker.feed(event)
    checker.finish(WHERE)
    return [finding.text for finding in checker.findings]


def test_a_local_apic_that_is_written_as_memory_although_msrs_are_recommended() -> None:
    (text,) = found(Watched())
    assert text.startswith("Device memory, where the local APIC is, was written 5000 times")
    assert found(Watched(), MsrEvent(WHERE, 0x40000070, 0, write=True)) == []


def test_few_writes_or_none_known_are_nothing() -> None:
    for writes in (4095, None):
        facts = Watched()
        facts.writes = writes
        assert found(facts) == []
    other = Watched()
    other.recommendations = 0
    assert found(other) == []


class Told(Facts):
    """A partition of which CPUID tells this much."""

    recommendations = 0
    privileges = 1 << 5
    spin_retry_count: int | None = 0xFFFFFFFF


def refused(facts: Facts, *events: Event) -> list[tuple[str, str]]:
    checker = Checker(facts, checks=[OfferCheck])
    for event in events:
        checker.feed(event)
    return [(finding.rule.name, finding.text) for finding in checker.findings]


def test_a_notification_although_there_is_to_be_none() -> None:
    notify = HypercallEvent(WHERE, record(0x1_0008, 0x100))
    assert refused(Told(), notify) == [
        (
            "unrecommended-call",
            "HvCallNotifyLongSpinWait was made although CPUID says never to notify.",
        )
    ]
    facts = Told()
    facts.spin_retry_count = 0xFFF
    assert refused(facts, notify) == []


def test_an_msr_that_the_partition_has_no_privilege_for() -> None:
    def reads(index: int, fault: bool = True) -> Event:
        return MsrEvent(WHERE, index, 0, write=False, fault=fault)

    assert refused(Told(), reads(0x40000002)) == [
        (
            "missing-privilege",
            "The read of VP_INDEX ended in #GP; it needs ACCESS_VP_INDEX.",
        )
    ]
    # One that is allowed, one that nobody knows, one that was read, and where nothing is known.
    assert refused(Told(), reads(0x40000000), reads(0x1234), reads(0x40000002, False)) == []
    assert refused(Facts(), reads(0x40000002)) == []
