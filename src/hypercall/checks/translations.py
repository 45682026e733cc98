"""Translations that a processor still uses although the guest has changed them."""

from __future__ import annotations

from collections import deque
from typing import ClassVar, NamedTuple

from hypercall.abi.record import CallRecord
from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.processor_sets import ALL, processors_of
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.tlfs.call_flags import FlushFlags
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.gva_range import ranges
from hypercall.tlfs.identifiers import vp_set_text
from hypercall.tlfs.status import HvStatus
from hypercall.tlfs.vp_set import indexes
from hypercall.trace.events import Event, HypercallEvent, Position

STALE_TRANSLATION = Rule(
    "stale-translation",
    Severity.ERROR,
    Source.TRANSLATIONS,
    "A processor used a translation 20 ms and more after the paging structures had another one, or"
    " none: a flush was forgotten, or left this processor out.",
    "It reads and writes a page that may belong to somebody else by now. On hardware it depends on"
    " what else the processor has to remember, so that it seldom shows.",
    "hypercalls/HvCallFlushVirtualAddressSpace; hypercalls/HvCallFlushVirtualAddressList",
)

PATIENCE_NS = 20_000_000
"""A guest that changes many translations flushes after the last."""

AUDIT_NS = 2_000_000
"""The virtual time between two looks at all translations."""

_REMEMBERED = 256
_PAGE = 4096
_KINDS = ("read from", "write to", "execute code of")


class _Flush(NamedTuple):
    position: Position
    name: str
    targets: int
    ranges: list[tuple[int, int]] | None


class TranslationCheck(Check):
    """Reports uses of old translations, and which flush left the processor out."""

    rules = (STALE_TRANSLATION,)
    kinds = (HypercallEvent,)
    not_state: ClassVar[tuple[str, ...]] = ("watching",)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        self._flushes: deque[_Flush] = deque(maxlen=_REMEMBERED)
        self.watching = False

    def see(self, event: Event) -> None:
        """Remember a flush."""
        assert isinstance(event, HypercallEvent)
        if self.watching:
            flush = _flush_of(event.record, event.position)
            if flush is not None:
                self._flushes.append(flush)

    def used(
        self, position: Position, address: int, access: int, old: int, new: int | None, since: int
    ) -> None:
        """Take note that an old translation was used.

        Args:
            position: when and where.
            address: the guest-virtual address.
            access: 0 read, 1 write, 2 fetch.
            old: the guest-physical page that the translation leads to.
            new: the guest-physical address that the paging structures give, or None for a fault.
            since: virtual time in nanoseconds at which the translation was seen to be old.
        """
        if new is None:
            now = "is not mapped for that any more"
        elif new // _PAGE * _PAGE != old:
            now = f"is at {new // _PAGE * _PAGE:#x} now"
        else:
            now = "has other rights now"
        missing = self._missing(position, address, since)
        text = (
            f"VP {position.vp_index} used an old translation of {address:#x} to {_KINDS[access]}"
            f" the page at {old:#x}; the address {now}, and {missing}."
        )
        self.findings.add(STALE_TRANSLATION, position, text)

    def _missing(self, position: Position, address: int, since: int) -> str:
        for flush in reversed(self._flushes):
            if flush.position.time_ns < since - AUDIT_NS:
                break
            covers = flush.ranges is None or any(
                first <= address < first + pages * _PAGE for first, pages in flush.ranges
            )
            if covers and flush.targets != ALL and not flush.targets >> position.vp_index & 1:
                return (
                    f"{flush.name} of VP {flush.position.vp_index} at"
                    f" {flush.position.time_ns / 1e9:.6f} s flushed it on"
                    f" {vp_set_text(indexes(flush.targets))} only"
                )
        return f"no call has flushed it for {(position.time_ns - since) / 1e6:.1f} ms"


def _flush_of(record: CallRecord, position: Position) -> _Flush | None:
    declaration = record.declaration
    if declaration is None or record.result is None or record.result & 0xFFFF != HvStatus.SUCCESS:
        return None
    header = declaration.header
    if "address_space" not in header.field_names or "flags" not in header.field_names:
        return None
    targets = processors_of(record)
    if targets is None:
        return None
    listed = None
    if declaration.is_rep:
        word = ControlWord.parse(record.control)
        start = header.size
        if declaration.variable_header is not None:
            start += 8 * word.variable_header_size
        flags = header.unpack_named(record.input)["flags"]
        elements = record.input[start : start + 8 * word.rep_count]
        listed = ranges(elements, bool(flags & FlushFlags.USE_EXTENDED_RANGE_FORMAT))
    return _Flush(position, declaration.name, targets, listed)
