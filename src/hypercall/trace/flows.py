"""From what was sent to its arrival: interrupts and messages, joined with the interrupts taken.

A call that interrupts processors, or a message that comes into a SynIC, starts a flow for each
receiver; the next interrupt with that vector on that processor and VTL ends it. Several that are
on their way with one vector arrive together, as the interrupt controller merges them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypercall.tlfs.calls import Call
from hypercall.trace.events import HypercallEvent, InterruptEvent, MessageEvent
from hypercall.trace.reach import Purpose, Reach, reach_of
from hypercall.trace.remembered import Remembered

_MOST_PROCESSORS = 4096
_MOST_RECEIVERS = 1 << 16
_MOST_ON_THE_WAY = 256
_SENDING_CALLS = (Call.POST_MESSAGE, Call.SIGNAL_EVENT)


@dataclass(frozen=True, slots=True)
class Flow:
    """Something on its way.

    Attributes:
        number: tells it from the others of the run, from 1.
        sender: VP index of what sent it.
        receiver: VP index of who shall get it.
        sent_ns: virtual time of the sending.
        vector: of the interrupt.
    """

    number: int
    sender: int
    receiver: int
    sent_ns: int
    vector: int


class FlowMatcher:
    """Finds the flows of a run; give it the events in their order.

    Args:
        cpus: how many virtual processors there are; None if that shows only by and by.
    """

    def __init__(self, cpus: int | None = None) -> None:
        self._cpus = min(cpus or 0, _MOST_PROCESSORS)
        self._last = 0
        self._reach: Remembered[tuple[Reach | None]] = Remembered(lambda r: (reach_of(r),))
        self._on_the_way: dict[tuple[int, int, int], deque[Flow]] = {}
        # The messages that came into a SynIC during a call of a processor, until its record comes.
        self._in_call: dict[int, list[Flow]] = {}

    def saw(self, vp_index: int) -> None:
        """Take note that there is a processor of this index."""
        if self._cpus <= vp_index < _MOST_PROCESSORS:
            self._cpus = vp_index + 1

    def reach(self, event: HypercallEvent) -> Reach | None:
        """Return whom a call reached."""
        return self._reach.of(event.record)[0]

    def called(self, event: HypercallEvent) -> list[Flow]:
        """Return the flows that start with a call: of its interrupts or its messages."""
        position = event.position
        self.saw(position.vp_index)
        record = event.record
        messages = self._in_call.pop(position.vp_index, ())
        if record.declaration is not None and record.declaration.code in _SENDING_CALLS:
            return [flow for flow in messages if flow.sent_ns >= record.entered_at]
        reach = self._reach.of(record)[0]
        if reach is None or reach.purpose is not Purpose.INTERRUPT:
            return []
        vtl = position.vtl if reach.vtl is None else reach.vtl
        return [
            self._start(position.vp_index, index, vtl, reach.vector, position.time_ns)
            for index in reach.indexes(self._cpus)
        ]

    def delivered(self, event: MessageEvent) -> Flow | None:
        """Return the flow that a message starts; None if no interrupt tells of it."""
        position = event.position
        self.saw(position.vp_index)
        if event.vector is None:
            return None
        flow = self._start(
            position.vp_index, event.target_vp, event.target_vtl, event.vector, position.time_ns
        )
        waiting = self._in_call.setdefault(position.vp_index, [])
        if waiting and waiting[-1].sent_ns != flow.sent_ns:
            waiting.clear()
        if len(waiting) < _MOST_ON_THE_WAY:
            waiting.append(flow)
        return flow

    def arrived(self, event: InterruptEvent) -> list[Flow]:
        """Return the flows that end with an interrupt."""
        position = event.position
        self.saw(position.vp_index)
        key = (position.vp_index, position.vtl, event.vector)
        return list(self._on_the_way.pop(key, ()))

    def _start(self, sender: int, receiver: int, vtl: int, vector: int, time_ns: int) -> Flow:
        self._last += 1
        flow = Flow(self._last, sender, receiver, time_ns, vector)
        key = (receiver, vtl, vector)
        waiting = self._on_the_way.get(key)
        if waiting is None:
            if len(self._on_the_way) >= _MOST_RECEIVERS:
                self._on_the_way.clear()
            waiting = self._on_the_way[key] = deque(maxlen=_MOST_ON_THE_WAY)
        waiting.append(flow)
        return flow
