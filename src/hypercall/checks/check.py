"""What a check is: it sees events and reports where they break its rules."""

from __future__ import annotations

from typing import ClassVar

from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.rule import Rule
from hypercall.trace.events import Event, Position
from hypercall.trace.hub import EventKind


class Check:
    """A check of one rule, or of a few that look at the same things.

    Attributes:
        rules: the rules that it checks.
        kinds: the kinds of events that it wants to see.
        facts: what is known of the partition.
        findings: where it reports.
    """

    rules: ClassVar[tuple[Rule, ...]] = ()
    kinds: ClassVar[tuple[EventKind, ...]] = ()

    def __init__(self, facts: Facts, findings: Findings) -> None:
        self.facts = facts
        self.findings = findings

    def see(self, event: Event) -> None:
        """Look at one event of the kinds wanted."""

    def finish(self, end: Position) -> None:
        """Look at what is left when the run has ended.

        Args:
            end: when and where it ended.
        """
