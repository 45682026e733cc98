"""Findings: each place that broke a rule, once, with a count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from hypercall.checks.rule import Rule
from hypercall.trace.events import FindingEvent, Position

MOST_FINDINGS = 1000
"""A guest that makes its code anew all the time has any number of places."""


@dataclass(slots=True)
class Finding:
    """A place in the guest that broke a rule.

    Attributes:
        rule: the rule.
        position: when and where it was first.
        text: one sentence that says what the guest did there the first time.
        count: how often it was seen.
        last_ns: virtual time of the last time, in nanoseconds.
        code: bytes of the guest's code around the place, or empty where they could not be read.
        code_address: the guest-virtual address of the first of them.
        bits: 64, or 32 for other code.
    """

    rule: Rule
    position: Position
    text: str
    count: int = 1
    last_ns: int = 0
    code: bytes = b""
    code_address: int = 0
    bits: int = 64

    @property
    def address(self) -> int:
        """The call site, or the instruction pointer where there is none."""
        return self.position.place

    @property
    def event(self) -> FindingEvent:
        """The finding as an event of the run."""
        return FindingEvent(
            self.position,
            self.rule.name,
            self.rule.severity.value,
            self.text,
            self.code,
            self.code_address,
            self.bits,
        )


class Findings:
    """Collects findings.

    Attributes:
        left_out: how many new places were not taken up, for there are `MOST_FINDINGS` already.
    """

    not_state: ClassVar[tuple[str, ...]] = ("_on_new",)

    def __init__(self, on_new: Callable[[Finding], None] | None = None) -> None:
        """Collect findings.

        Args:
            on_new: called with each finding when it is new.
        """
        self.left_out = 0
        self._on_new = on_new
        self._found: dict[tuple[str, int, int, int], Finding] = {}

    def add(self, rule: Rule, position: Position, text: str, code: int = 0) -> None:
        """Take up that a rule was broken.

        Args:
            rule: the rule.
            position: when and where.
            text: one sentence that says what the guest did.
            code: the code of the call that it is about. Where the call site is not known it tells
                apart what may come from different places.
        """
        key = (
            rule.name,
            position.place,
            position.vtl,
            0 if position.call_site is not None else code,
        )
        known = self._found.get(key)
        if known is not None:
            known.count += 1
            known.last_ns = position.time_ns
            return
        if len(self._found) >= MOST_FINDINGS:
            self.left_out += 1
            return
        finding = Finding(rule, position, text, last_ns=position.time_ns)
        self._found[key] = finding
        if self._on_new is not None:
            self._on_new(finding)

    def all(self) -> list[Finding]:
        """Return the findings in the order in which they were made."""
        return list(self._found.values())
