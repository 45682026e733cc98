"""The last that was seen of each virtual processor: its call, its interrupt, its rest."""

from __future__ import annotations

from collections.abc import Callable

from hypercall.trace.events import Event, HaltEvent, HypercallEvent, InterruptEvent
from hypercall.trace.hub import TraceHub


class LastSeen:
    """Keeps the last event of some kinds of each virtual processor, by VP index.

    A subscriber like any other: ``LastSeen().attach(machine.trace)``.

    Attributes:
        calls: the last hypercall.
        interrupts: the last interrupt taken.
        halts: the last time that it came to rest.
    """

    def __init__(self) -> None:
        self.calls: dict[int, HypercallEvent] = {}
        self.interrupts: dict[int, InterruptEvent] = {}
        self.halts: dict[int, HaltEvent] = {}

    def attach(self, hub: TraceHub) -> Callable[[], None]:
        """Keep what the hub tells of; call the result to stop."""
        return hub.subscribe(self.keep, HypercallEvent, InterruptEvent, HaltEvent)

    def keep(self, event: Event) -> None:
        """Keep an event in place of the last of its kind."""
        if isinstance(event, HypercallEvent):
            self.calls[event.position.vp_index] = event
        elif isinstance(event, InterruptEvent):
            self.interrupts[event.position.vp_index] = event
        elif isinstance(event, HaltEvent) and event.halted:
            self.halts[event.position.vp_index] = event
