"""Runs the checks that need nothing but events: live, or over a recorded trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar

from hypercall.checks.call_check import CallCheck
from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Finding, Findings
from hypercall.checks.identities import IdentityCheck
from hypercall.checks.inputs import InputCheck
from hypercall.checks.offers import OfferCheck, RecommendationCheck
from hypercall.checks.statuses import StatusCheck
from hypercall.trace.events import Event, Position
from hypercall.trace.hub import EventKind

_C = TypeVar("_C", bound=Check)

STREAM_CHECKS: tuple[type[Check], ...] = (
    CallCheck,
    OfferCheck,
    RecommendationCheck,
    StatusCheck,
    IdentityCheck,
    InputCheck,
)
"""The checks that see events, in the order in which they see each."""


class Checker:
    """Feeds events to checks and collects what they find.

    Attributes:
        kinds: the kinds of events that the checks want; others may be fed too.
    """

    not_state: ClassVar[tuple[str, ...]] = ("kinds", "_by_kind")

    def __init__(
        self,
        facts: Facts | None = None,
        on_new: Callable[[Finding], None] | None = None,
        *,
        checks: Iterable[type[Check]] = STREAM_CHECKS,
    ) -> None:
        """Make the checks.

        Args:
            facts: what is known of the partition; nothing by default.
            on_new: called with each finding when it is new.
            checks: which checks.
        """
        self._found = Findings(on_new)
        facts = facts or Facts()
        self._checks = [check(facts, self._found) for check in checks]
        self._by_kind: dict[type, list[Callable[[Event], None]]] = {}
        self._last: Position | None = None
        kinds: list[EventKind] = []
        for check in self._checks:
            for kind in check.kinds:
                self._by_kind.setdefault(kind, []).append(check.see)
                if kind not in kinds:
                    kinds.append(kind)
        self.kinds: tuple[EventKind, ...] = tuple(kinds)

    def feed(self, event: Event) -> None:
        """Let the checks see an event; events come in the order of the trace."""
        checks = self._by_kind.get(type(event))
        if checks is not None:
            self._last = event.position
            for see in checks:
                see(event)

    def finish(self, end: Position | None = None) -> None:
        """Let the checks report what shows only at the end.

        Args:
            end: when and where the run ended; by default at the last event.
        """
        end = end or self._last or Position(0, 0, 0, 0)
        for check in self._checks:
            check.finish(end)

    def check(self, kind: type[_C]) -> _C:
        """Return the check of a class, which must be one of this checker's."""
        return next(check for check in self._checks if isinstance(check, kind))

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in the order in which it was found first."""
        return self._found.all()

    @property
    def left_out(self) -> int:
        """How many places were not taken up, for there were too many."""
        return self._found.left_out
