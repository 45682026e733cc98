"""VP indexes and APIC ids, which guests confuse."""

from __future__ import annotations

from struct import unpack_from

from hypercall.abi.record import CallRecord
from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.processor_sets import ALL, processors_of
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.tlfs.calls import Call
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.layout import FieldKind
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.tlfs.registers import RegisterName
from hypercall.tlfs.vp_set import indexes
from hypercall.trace.events import Event, HypercallEvent, MsrEvent, Position

APIC_ID_AS_VP_INDEX = Rule(
    "apic-id-as-vp-index",
    Severity.ERROR,
    Source.MACHINE,
    "A call names a VP index that the guest has never asked for, and that is the APIC id of"
    " another processor.",
    "The two numbers are equal on most hosts, and nothing promises it. Where they differ the call"
    " reaches the wrong processor; `--shuffle-vp-index` makes them differ.",
    "virtual-processors, Virtual Processor Index; hypercalls/HvCallGetVpIndexFromApicId",
)
VP_INDEX_AS_APIC_ID = Rule(
    "vp-index-as-apic-id",
    Severity.ERROR,
    Source.MACHINE,
    "A VP index was used where an APIC id belongs: the APIC id does not exist or belongs to a"
    " processor that was never started, while the VP of that index runs.",
    "An interrupt goes to the wrong processor or to none, and the guest waits for it.",
    "virtual-processors, Virtual Processor Index; hypercalls/HvCallGetVpIndexFromApicId",
)

_X2APIC_ICR = 0x830
_DELIVERY = 0x700
_INIT, _STARTUP = 0x500, 0x600
_LOGICAL = 0x800
_SHORTHAND = 0xC0000
_BROADCAST = (0xFF, 0xFFFFFFFF)


class IdentityCheck(Check):
    """Follows which VP indexes the guest has learned, and which processors it names.

    A guest learns a VP index by the MSR or the register of that name and by
    HvCallGetVpIndexFromApicId, and in no other way. Where index and APIC id are equal nothing is
    reported, for then nothing goes wrong. Nor is an index that the guest may have learned before
    somebody began to watch it.
    """

    rules = (APIC_ID_AS_VP_INDEX, VP_INDEX_AS_APIC_ID)
    kinds = (HypercallEvent, MsrEvent)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        self._ids = facts.apic_ids or {}
        self._by_apic_id = {apic_id: index for index, apic_id in self._ids.items()}
        self._differ = {index for index, apic_id in self._ids.items() if index != apic_id}
        self._learned = 0
        self._all = sum(1 << index for index in self._ids)

    def see(self, event: Event) -> None:
        """Look at a call or an access to an MSR."""
        if not self._differ:
            return
        if isinstance(event, HypercallEvent):
            self._learn(event.record)
            self._see_call(event.record, event.position)
        elif isinstance(event, MsrEvent) and not event.fault:
            if event.index == SyntheticMsr.VP_INDEX:
                self._learned |= 1 << event.value
            elif event.write and event.index in (SyntheticMsr.ICR, _X2APIC_ICR):
                self._see_interrupt(event)

    def _learn(self, record: CallRecord) -> None:
        code = record.control & 0xFFFF
        if code == Call.GET_VP_INDEX_FROM_APIC_ID:
            for (index,) in _words(record.output):
                if index in self._ids:
                    self._learned |= 1 << index
        elif code == Call.GET_VP_REGISTERS and record.declaration is not None and record.output:
            start = record.declaration.header.size + 4 * ControlWord.parse(record.control).rep_start
            for number, (name,) in enumerate(_words(record.input[start:])):
                value = record.output[16 * number : 16 * number + 4]
                if name == RegisterName.VP_INDEX and len(value) == 4:
                    self._learned |= 1 << int.from_bytes(value, "little")

    def _see_call(self, record: CallRecord, position: Position) -> None:
        declaration = record.declaration
        if declaration is None:
            return
        if declaration.code == Call.GET_VP_INDEX_FROM_APIC_ID:
            self._see_apic_ids(record, position)
            return
        if not self.facts.from_start:
            # What it has asked for before is not known.
            return
        named = processors_of(record)
        if named is None:
            named = self._named_in_header(record)
        if not named or named == ALL or named & self._all == self._all:
            return
        for index in indexes(named & self._all & ~self._learned):
            if index not in self._differ:
                continue
            other = self._by_apic_id.get(index)
            meant = f"; {index} is the APIC id of VP {other}" if other is not None else ""
            self.findings.add(
                APIC_ID_AS_VP_INDEX,
                position,
                f"{declaration.name} names VP {index}, an index that the guest has never asked"
                f" for{meant}.",
            )
            return

    def _named_in_header(self, record: CallRecord) -> int:
        assert record.declaration is not None
        header = record.declaration.header
        if len(record.input) < header.size:
            return 0
        named = 0
        for field in header.values:
            if field.kind is FieldKind.VP_INDEX:
                index = header.unpack_named(record.input)[field.name]
                if index in self._ids and index != record.vp_index:
                    named |= 1 << index
        return named

    def _see_apic_ids(self, record: CallRecord, position: Position) -> None:
        assert record.declaration is not None
        word = ControlWord.parse(record.control)
        start = record.declaration.header.size + 4 * word.rep_start
        for (apic_id,) in _words(record.input[start:]):
            if apic_id in self._ids and apic_id not in self._by_apic_id:
                self._report_apic_id(record.declaration.name, apic_id, position)
                return

    def _see_interrupt(self, event: MsrEvent) -> None:
        value = event.value
        apic_id = value >> 32 if event.index == _X2APIC_ICR else value >> 56
        kind = value & _DELIVERY
        if value & (_SHORTHAND | _LOGICAL) or kind in (_INIT, _STARTUP) or apic_id in _BROADCAST:
            return
        target = self._by_apic_id.get(apic_id)
        if apic_id not in self._ids or self.facts.has_started(apic_id) is not True:
            return
        if target is None or self.facts.has_started(target) is False:
            self._report_apic_id("An interrupt by the command register", apic_id, event.position)

    def _report_apic_id(self, what: str, apic_id: int, position: Position) -> None:
        target = self._by_apic_id.get(apic_id)
        which = (
            "does not exist" if target is None else (f"is VP {target}'s, which was never started")
        )
        self.findings.add(
            VP_INDEX_AS_APIC_ID,
            position,
            f"{what} names APIC id {apic_id}, which {which}; VP {apic_id} has the APIC id"
            f" {self._ids[apic_id]}.",
        )


def _words(data: bytes) -> list[tuple[int]]:
    return [unpack_from("<I", data, at) for at in range(0, len(data) - 3, 4)]
