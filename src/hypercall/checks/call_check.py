"""Checks each call by what it says alone; a call that was found good once is good again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

from hypercall.abi.record import CallRecord
from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.forms import OVERSIZED_FLUSH, SLOW_FORM, check_flush_size, check_form
from hypercall.checks.placement import ALIGNMENT, OVERLAP, PAGE_CROSSING, check_placement
from hypercall.checks.processor_sets import EMPTY_SET, LAYOUT, check_processor_set
from hypercall.checks.reserved import RESERVED, check_reserved
from hypercall.checks.rule import Rule
from hypercall.tlfs.control import CODE_MASK
from hypercall.trace.events import Event, HypercallEvent

_MOST_REMEMBERED = 8192

_Key = tuple[int, int, int, bytes]

_CHECKS: tuple[Callable[[CallRecord], Iterator[tuple[Rule, str]]], ...] = (
    check_placement,
    check_reserved,
    check_processor_set,
    check_form,
    check_flush_size,
)


class CallCheck(Check):
    """Looks at the bytes of calls and at nothing else."""

    rules = (
        OVERLAP,
        ALIGNMENT,
        PAGE_CROSSING,
        RESERVED,
        LAYOUT,
        EMPTY_SET,
        SLOW_FORM,
        OVERSIZED_FLUSH,
    )
    kinds = (HypercallEvent,)
    # What is good is so at any time.
    not_state: ClassVar[tuple[str, ...]] = ("_good",)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        self._good: set[_Key] = set()

    def see(self, event: Event) -> None:
        """Look at a call."""
        assert isinstance(event, HypercallEvent)
        record = event.record
        if record.fast:
            key: _Key = (record.control, 0, 0, record.input)
        else:
            key = (record.control, record.input_register, record.output_register, record.input)
        if key in self._good:
            return
        good = True
        for check in _CHECKS:
            for rule, text in check(record):
                good = False
                self.findings.add(rule, event.position, text, record.control & CODE_MASK)
        if good:
            if len(self._good) >= _MOST_REMEMBERED:
                self._good.clear()
            self._good.add(key)
