"""Input that nobody has written."""

from __future__ import annotations

from hypercall.checks.check import Check
from hypercall.checks.placement import list_sizes
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.trace.events import Event, HypercallEvent

UNINITIALISED_INPUT = Rule(
    "uninitialised-input",
    Severity.WARNING,
    Source.MACHINE,
    "A call's input lies in a page that nothing has written since the machine was made.",
    "It reads as zeros here. On a host, memory may hold what another guest or the firmware left,"
    " and the call does anything.",
    "hypercall-interface, Hypercall Inputs",
)


class InputCheck(Check):
    """Looks at whether the pages of input lists have been written.

    The engine knows exactly which pages were ever written, and not which bytes of them.
    """

    rules = (UNINITIALISED_INPUT,)
    kinds = (HypercallEvent,)

    def see(self, event: Event) -> None:
        """Look at a call."""
        assert isinstance(event, HypercallEvent)
        record = event.record
        if record.fast or not record.input or record.declaration is None:
            return
        size = max(list_sizes(record.declaration, record.control).input, len(record.input))
        page = self.facts.unwritten(record.input_register, size, event.position.vtl)
        if page is not None:
            self.findings.add(
                UNINITIALISED_INPUT,
                event.position,
                f"{record.declaration.name} has input at {record.input_register:#x}, and nothing"
                f" has written the page at {page:#x}.",
            )
