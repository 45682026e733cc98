"""Numbers of processors that guests confuse, where APIC ids have gaps as no machine here has."""

import struct

from tests.checks.records import record

from hypercall.checks.checker import Checker
from hypercall.checks.facts import Facts
from hypercall.checks.identities import IdentityCheck
from hypercall.trace.events import Event, HypercallEvent, MsrEvent, Position

WHERE = Position(0, 0, 0, 0x1000)
INDEX_OF = 0x1_0000_009A


class Gaps(Facts):
    """Three processors that run, with the APIC ids 0, 5 and 1."""

    from_start = True
    apic_ids = {0: 0, 1: 5, 2: 1}  # noqa: RUF012

    def has_started(self, vp_index: int) -> bool:
        return True


def texts(*events: Event) -> list[tuple[str, str]]:
    checker = Checker(Gaps(), checks=[IdentityCheck])
    for event in events:
        checker.feed(event)
    return [(finding.rule.name, finding.text) for finding in checker.findings]


def asks_for(apic_id: int) -> Event:
    return HypercallEvent(WHERE, record(INDEX_OF, (1 << 64) - 1, 0, apic_id, second=0x6000))


def test_the_index_of_an_apic_id_that_is_a_vp_index() -> None:
    ((rule, text),) = texts(asks_for(2))
    assert rule == "vp-index-as-apic-id"
    assert text == (
        "HvCallGetVpIndexFromApicId names APIC id 2, which does not exist; VP 2 has the APIC id 1."
    )
    for apic_id in (0, 1, 5, 77):
        assert texts(asks_for(apic_id)) == []


def test_an_interrupt_to_an_apic_id_that_is_a_vp_index() -> None:
    def sends(apic_id: int, index: int = 0x830, rest: int = 0x40) -> Event:
        shift = 32 if index == 0x830 else 56
        return MsrEvent(WHERE, index, apic_id << shift | rest, write=True)

    assert [rule for rule, _ in texts(sends(2), sends(2, 0x40000071))] == ["vp-index-as-apic-id"]
    # An id of nobody, INIT, a shorthand, and a logical destination.
    for event in (sends(7), sends(2, rest=0x500), sends(2, rest=0x40040), sends(2, rest=0x840)):
        assert texts(event) == []


def test_indexes_are_learned_from_what_the_hypervisor_answers() -> None:
    ipi = HypercallEvent(WHERE, record(0x1_000B, 0x40, 1 << 2))
    assert [rule for rule, _ in texts(ipi)] == ["apic-id-as-vp-index"]
    answered = asks_for(1)
    assert isinstance(answered, HypercallEvent)
    answered.record.output = struct.pack("<I", 2)
    registers = record(0x1_0000_0050, (1 << 64) - 1, 2, 0x00090003, second=0x6000)
    registers.output = struct.pack("<QQ", 2, 0)
    for learns in (
        answered,
        HypercallEvent(WHERE, registers),
        MsrEvent(WHERE, 0x40000002, 2, write=False),
    ):
        assert texts(learns, ipi) == []
