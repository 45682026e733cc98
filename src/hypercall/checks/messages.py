"""Message slots of the SynIC: emptied without a word, or not emptied."""

from __future__ import annotations

from hypercall.checks.check import Check
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.rule import Rule, Severity, Source
from hypercall.trace.events import Event, HaltEvent, MessageEvent, Position

MISSING_EOM = Rule(
    "missing-eom",
    Severity.ERROR,
    Source.MACHINE,
    "A processor emptied a message slot that said that another message waits, and rested, or the"
    " run ended, without a write to EOM or an end of the interrupt.",
    "The hypervisor looks for the next message only then; it waits, perhaps for ever, and the"
    " buffers of its sender run out.",
    "inter-partition-communication, SynIC Message Delivery; EOM register",
)
FULL_SLOT = Rule(
    "full-message-slot",
    Severity.WARNING,
    Source.MACHINE,
    "A message stayed in its slot for 10 ms and more, until the processor rested or the run ended.",
    "While a slot is full no other message for its SINT is delivered.",
    "inter-partition-communication, SynIC Message Delivery",
)

_PATIENCE_NS = 10_000_000


class MessageCheck(Check):
    """Looks at the message slots of processors that rest, and of all at the end."""

    rules = (MISSING_EOM, FULL_SLOT)
    kinds = (HaltEvent, MessageEvent)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        # When the last message came to a slot, by VP index, VTL and SINT.
        self._delivered: dict[tuple[int, int, int], int] = {}
        # The slots that were reported since.
        self._reported: set[tuple[int, int, int]] = set()

    def see(self, event: Event) -> None:
        """Look at a processor that rests, or note a message."""
        if isinstance(event, MessageEvent):
            if event.message_type is not None:
                key = (event.target_vp, event.target_vtl, event.sint)
                self._delivered[key] = event.position.time_ns
                self._reported.discard(key)
        elif isinstance(event, HaltEvent) and event.halted and self._delivered:
            self._look(event.position.vp_index, event.position, final=False)

    def finish(self, end: Position) -> None:
        """Look at every processor that has had messages."""
        for vp_index in sorted({key[0] for key in self._delivered}):
            self._look(vp_index, end, final=True)

    def _look(self, vp_index: int, position: Position, *, final: bool) -> None:
        for slot in self.facts.message_slots(vp_index):
            key = (vp_index, slot.vtl, slot.sint)
            since = self._delivered.get(key)
            if since is None or key in self._reported:
                continue
            where = f"the slot of SINT {slot.sint} of VP {vp_index}"
            age = position.time_ns - since
            if not slot.full and slot.waiting:
                rule, text = (
                    MISSING_EOM,
                    f"Nothing was written to EOM after {where} was emptied, and {slot.waiting}"
                    f" more wait{'s' if slot.waiting == 1 else ''}.",
                )
            elif slot.full and age >= _PATIENCE_NS and (slot.waiting or final):
                rule, text = (
                    FULL_SLOT,
                    f"The message in {where} has been there for {age / 1e6:.1f} ms.",
                )
            else:
                continue
            self._reported.add(key)
            self.findings.add(rule, position, text)
