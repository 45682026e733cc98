"""Output that is read while the call that gives it is still under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.placement import list_sizes
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.trace.events import Event, HypercallEvent, Position

EARLY_READ = Rule(
    "early-output-read",
    Severity.ERROR,
    Source.MACHINE,
    "A processor read from the output list of a call that was under way: one that waits, or a rep"
    " call that is to be continued.",
    "Output is there when the call has returned, and not before. Between two attempts of a call"
    " other processors run, and interrupts are taken, which is when this is seen here.",
    "hypercall-interface, Hypercall Continuation",
)

_PAGE = 4096


class _Open(NamedTuple):
    name: str
    start: int
    end: int


class OutputCheck(Check):
    """Watches the output pages of calls between their attempts.

    Attributes:
        watch: called with the number of a guest-physical page, and whether it is to be watched.
    """

    rules = (EARLY_READ,)
    kinds = (HypercallEvent,)
    not_state: ClassVar[tuple[str, ...]] = ("watch",)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        self.watch: Callable[[int, bool], None] | None = None
        # The call of each processor in each VTL that is under way.
        self._open: dict[tuple[int, int], _Open] = {}

    @property
    def pages(self) -> set[int]:
        """The guest-physical pages that hold output of calls under way."""
        return {call.start // _PAGE for call in self._open.values()}

    def see(self, event: Event) -> None:
        """Begin or end to watch."""
        assert isinstance(event, HypercallEvent)
        if self.watch is None:
            return
        record = event.record
        key = (event.position.vp_index, event.position.vtl)
        if not record.continued:
            if not self._open:
                return
            ended = self._open.pop(key, None)
            if ended is not None and ended.start // _PAGE not in self.pages:
                self.watch(ended.start // _PAGE, False)
            return
        declaration = record.declaration
        if declaration is None or record.fast or key in self._open:
            return
        size = list_sizes(declaration, record.control).output
        if declaration.variable_output is not None:
            size += declaration.variable_output.maximum
        if size:
            start = record.output_register
            end = min(start + size, (start // _PAGE + 1) * _PAGE)
            self._open[key] = _Open(declaration.name, start, end)
            self.watch(start // _PAGE, True)

    def read(self, position: Position, gpa: int) -> None:
        """Take note that guest code reads from a page that is watched.

        Args:
            position: when and where.
            gpa: the guest-physical address.
        """
        for (vp_index, _), call in self._open.items():
            if call.start <= gpa < call.end:
                self.findings.add(
                    EARLY_READ,
                    position,
                    f"VP {position.vp_index} read output of {call.name} at {gpa:#x} while the call"
                    f" of VP {vp_index} was under way.",
                )
                return
