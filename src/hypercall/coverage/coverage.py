"""Counts what a guest reads and uses of what it is offered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from hypercall.abi.record import CallRecord
from hypercall.coverage.enlightenments import ENLIGHTENMENTS, Enlightenment, Word
from hypercall.coverage.marks import Mark, marks_of_access, marks_of_call
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.control import CODE_MASK
from hypercall.tlfs.cpuid import FEATURES_LEAF, NESTED_FEATURES_LEAF, RECOMMENDATIONS_LEAF
from hypercall.tlfs.msrs import MSR_DECLARATIONS, msr_name
from hypercall.trace.description import RunDescription
from hypercall.trace.events import CpuidEvent, Event, HypercallEvent, MsrEvent
from hypercall.trace.hub import TraceHub
from hypercall.trace.remembered import Remembered

_MOST_SITES = 4096
_MOST_NUMBERS = 4096
_HYPERVISOR_MSRS = range(0x4000_0000, 0x4000_0200)
_X2APIC_MSRS = range(0x800, 0x900)


@dataclass(slots=True)
class Uses:
    """How often something was used, and from where.

    Attributes:
        count: how often in all.
        refused: how many of them failed: a status other than SUCCESS, or an exception.
        writes: of an MSR: how many of them were writes.
        sites: how often from which guest-virtual address, for the first 4096 of them.
    """

    count: int = 0
    refused: int = 0
    writes: int = 0
    sites: Counter[int] = field(default_factory=Counter)

    def add(self, site: int, *, refused: bool = False, write: bool = False) -> None:
        """Count one use."""
        self.count += 1
        self.refused += refused
        self.writes += write
        if site in self.sites or len(self.sites) < _MOST_SITES:
            self.sites[site] += 1


class Verdict(Enum):
    """What became of an enlightenment; the value says it in words."""

    USED = "used"
    USED_WITHOUT_OFFER = "used without being offered"
    REFUSED = "tried, and refused"
    NOT_USED = "not used"
    NOT_READ = "not used, its leaf never read"
    NOT_VISIBLE = "its use does not show"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True, slots=True)
class Row:
    """One enlightenment, and what the guest made of it.

    Attributes:
        enlightenment: the bit.
        offered: whether the guest was offered it; None where that is not known.
        read: how often the guest read the leaf that offers it.
        used: how often it used what shows the use, without refusals.
        refused: how often that was refused.
        by: what was used, and how often, most often first.
        verdict: all of that in a word.
    """

    enlightenment: Enlightenment
    offered: bool | None
    read: int
    used: int
    refused: int
    by: tuple[tuple[str, int], ...]
    verdict: Verdict


class Coverage:
    """Counts what a run uses. A subscriber: ``Coverage(machine.describe()).attach(machine.trace)``.

    Args:
        description: what is known of the run; the words that it does not have are taken from what
            CPUID told the guest.

    Attributes:
        calls: by call code.
        msrs: by index, for the synthetic MSRs and those of the x2APIC.
        leaves: by CPUID leaf: how often it was read and from where.
        marks: the other signs.
        cpus: how many virtual processors there are, as far as it is known.
    """

    def __init__(self, description: RunDescription | None = None) -> None:
        description = description or RunDescription()
        self.calls: dict[int, Uses] = {}
        self.msrs: dict[int, Uses] = {}
        self.leaves: dict[int, Uses] = {}
        self.marks: dict[Mark, Uses] = {}
        self.pages: dict[int, int] = {}
        self.cpus = description.cpus or 1
        self._words: dict[Word, int | None] = {
            Word.PRIVILEGES: description.privileges,
            Word.FEATURES: description.features,
            Word.RECOMMENDATIONS: description.recommendations,
            Word.NESTED_FEATURES: description.nested_features,
            Word.EXTENDED_CAPABILITIES: description.extended_capabilities,
        }
        self._known = description.privileges is not None
        self._marks_of: Remembered[tuple[Mark, ...]] = Remembered(_marks)

    def attach(self, hub: TraceHub) -> Callable[[], None]:
        """Count from now on; call the result to stop."""
        return hub.subscribe(self.add, HypercallEvent, MsrEvent, CpuidEvent)

    def add(self, event: Event) -> None:
        """Count one event; only calls, accesses to MSRs and CPUID count."""
        position = event.position
        self.cpus = max(self.cpus, position.vp_index + 1)
        if isinstance(event, HypercallEvent):
            record = event.record
            site = position.rip if position.call_site is None else position.call_site
            if record.continued:
                return
            refused = record.fault == "#UD" or bool((record.result or 0) & 0xFFFF)
            _count(self.calls, record.control & CODE_MASK, site, refused=refused)
            for mark in self._marks_of.of(record):
                self._mark(mark, site)
        elif isinstance(event, MsrEvent):
            if event.index in _HYPERVISOR_MSRS or event.index in _X2APIC_MSRS:
                _count(self.msrs, event.index, position.rip, refused=event.fault, write=event.write)
            for mark in marks_of_access(event):
                self._mark(mark, position.rip)
                if mark is Mark.PAGE_ENABLED:
                    self.pages[event.index] = self.pages.get(event.index, 0) + 1
        elif isinstance(event, CpuidEvent):
            _count(self.leaves, event.leaf, position.rip)
            if not self._known:
                self._learn(event)

    def _mark(self, mark: Mark, site: int) -> None:
        uses = self.marks.get(mark)
        if uses is None:
            uses = self.marks[mark] = Uses()
        uses.add(site)

    def _learn(self, event: CpuidEvent) -> None:
        eax, ebx, _, edx = event.values
        if event.leaf == FEATURES_LEAF:
            self._words[Word.PRIVILEGES] = ebx << 32 | eax
            self._words[Word.FEATURES] = edx
        elif event.leaf == RECOMMENDATIONS_LEAF:
            self._words[Word.RECOMMENDATIONS] = eax
        elif event.leaf == NESTED_FEATURES_LEAF:
            self._words[Word.NESTED_FEATURES] = eax

    # --- results ---------------------------------------------------------------------------------

    def offered(self, bit: Enlightenment) -> bool | None:
        """Return whether the guest was offered a bit; None where that is not known."""
        word = self._words[bit.word]
        if word is None:
            return False if self._known else None
        return bool(word & bit.bit)

    def read(self, leaf: int | None) -> int:
        """Return how often the guest read a leaf; for None, how often it asked by a call."""
        if leaf is not None:
            uses = self.leaves.get(leaf)
        else:
            uses = self.calls.get(Call.QUERY_CAPABILITIES)
        return 0 if uses is None else uses.count - uses.refused

    def rows(self) -> list[Row]:
        """Return every enlightenment, in the order of the words and bits."""
        return [self._row(bit) for bit in ENLIGHTENMENTS]

    def row(self, name: str) -> Row:
        """Return the enlightenment of a name.

        Raises:
            KeyError: there is none.
        """
        for bit in ENLIGHTENMENTS:
            if bit.name == name:
                return self._row(bit)
        raise KeyError(name)

    def _row(self, bit: Enlightenment) -> Row:
        by: list[tuple[str, int]] = []
        used = refused = 0
        for code in bit.calls:
            uses = self.calls.get(code)
            if uses is not None:
                used += uses.count - uses.refused
                refused += uses.refused
                by.append((call_name(code), uses.count))
        for index in bit.msrs:
            uses = self.msrs.get(index)
            if uses is not None:
                used += uses.count - uses.refused
                refused += uses.refused
                by.append((msr_name(index), uses.count))
        for mark in bit.marks:
            uses = self.marks.get(mark)
            if uses is not None:
                used += uses.count
                by.append((mark.value, uses.count))
        by.sort(key=lambda item: (-item[1], item[0]))
        offered, read = self.offered(bit), self.read(bit.leaf)
        verdict = _verdict(bit, offered, read, used, refused)
        return Row(bit, offered, read, used, refused, tuple(by), verdict)


def call_name(code: int) -> str:
    """Return the TLFS's name of a call, or ``call 0xbeef``."""
    declaration = DECLARATIONS.by_code.get(code)
    return declaration.name if declaration else f"call {code:#06x}"


def needs(index: int) -> str:
    """Return the names of what an MSR needs of the partition."""
    declaration = MSR_DECLARATIONS.get(index)
    if declaration is None:
        return ""
    words = (declaration.privilege, declaration.feature)
    return ", ".join(word.text(word) for word in words if word)


def _verdict(
    bit: Enlightenment, offered: bool | None, read: int, used: int, refused: int
) -> Verdict:
    if used:
        return Verdict.USED if offered is not False else Verdict.USED_WITHOUT_OFFER
    if refused:
        return Verdict.REFUSED
    if offered is False:
        return Verdict.NOT_OFFERED
    if not bit.visible:
        return Verdict.NOT_VISIBLE
    return Verdict.NOT_USED if read else Verdict.NOT_READ


def _marks(record: CallRecord) -> tuple[Mark, ...]:
    return tuple(marks_of_call(record))


def _count(
    table: dict[int, Uses], number: int, site: int, *, refused: bool = False, write: bool = False
) -> None:
    uses = table.get(number)
    if uses is None:
        if len(table) >= _MOST_NUMBERS:
            return
        uses = table[number] = Uses()
    uses.add(site, refused=refused, write=write)
