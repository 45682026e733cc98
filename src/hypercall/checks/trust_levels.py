"""What a higher VTL leaves of the registers of the one that it interrupted."""

from __future__ import annotations

from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.trace.events import Event, VtlEvent

RETURN_STATE = Rule(
    "vtl-return-state",
    Severity.ERROR,
    Source.MACHINE,
    "A VTL that was entered by an interrupt returned with other values in registers that the VTLs"
    " share.",
    "The lower VTL was interrupted anywhere and knows nothing of it: its registers changed between"
    " two of its instructions. RAX and RCX come from the assist page unless the return is fast.",
    "vsm, VTL Entry and VTL Return; vsm, Shared State",
)


class TrustLevelCheck(Check):
    """Compares the shared registers at an interrupt's entry with those after the return.

    After a call nothing is compared: the levels have agreed on what it changes. An intercept's
    handler may change registers, for it carries out what the lower VTL wanted to do.
    """

    rules = (RETURN_STATE,)
    kinds = (VtlEvent,)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        self._before: dict[tuple[int, int], dict[str, int]] = {}

    def interrupted(self, vp_index: int, vtl: int) -> None:
        """Take note that an interrupt takes a virtual processor out of a VTL to a higher one."""
        self._before[vp_index, vtl] = self.facts.shared_registers(vp_index, vtl)

    def entered(self, vp_index: int, vtl: int) -> None:
        """Take note that a virtual processor leaves a VTL for a higher one in another way."""
        self._before.pop((vp_index, vtl), None)

    def see(self, event: Event) -> None:
        """Look at a return."""
        assert isinstance(event, VtlEvent)
        if event.reason != "return":
            self.entered(event.position.vp_index, event.position.vtl)
            return
        key = (event.position.vp_index, event.entered)
        before = self._before.pop(key, None)
        if before is None:
            return
        after = self.facts.shared_registers(*key)
        changed = [name for name, value in before.items() if after.get(name) != value]
        if changed:
            first = changed[0]
            self.findings.add(
                RETURN_STATE,
                event.position,
                f"VTL {event.position.vtl} returned to VTL {event.entered}, which it had"
                f" interrupted, with {', '.join(changed)} changed ({first} from"
                f" {before[first]:#x} to {after[first]:#x}).",
            )
