"""What happened when, in a fixed number of spans of time however long the run is."""

from __future__ import annotations

from collections.abc import Iterator

MOST_SPANS = 2048
MOST_LANES = 64
_FIRST_WIDTH_NS = 1024


class Lane:
    """The counts and times of one virtual processor.

    Attributes:
        first_ns: the time of the processor's first event; it may not have run before.
        counts: by what is counted: how often in each span.
        times: by state: nanoseconds spent in it in each span.
    """

    __slots__ = ("counts", "first_ns", "times")

    def __init__(self, first_ns: int) -> None:
        self.first_ns = first_ns
        self.counts: dict[str, list[int]] = {}
        self.times: dict[str, list[int]] = {}

    def series(self) -> Iterator[list[int]]:
        """Return every list of counts or times."""
        yield from self.counts.values()
        yield from self.times.values()


class Timeline:
    """Counts events and adds up times in spans of time, which double when the room is used up.

    Attributes:
        start_ns: when the first span begins: the time of the first event, None before that.
        end_ns: the time of the last.
        width_ns: how long a span is.
        lanes: by VP index, for at most :data:`MOST_LANES` processors.
        left_out: how many events had no lane.
    """

    def __init__(self) -> None:
        self.start_ns: int | None = None
        self.end_ns = 0
        self.width_ns = _FIRST_WIDTH_NS
        self.lanes: dict[int, Lane] = {}
        self.left_out = 0

    def saw(self, vp_index: int, time_ns: int) -> None:
        """Take note that a processor had an event."""
        self._span(time_ns)
        if len(self.lanes) < MOST_LANES:
            self._lane(vp_index, time_ns)

    def count(self, vp_index: int, what: str, time_ns: int) -> None:
        """Count something that happened on a processor."""
        span = self._span(time_ns)
        lane = self._lane(vp_index, time_ns)
        if lane is not None:
            _add(lane.counts, what, span, 1)

    def spent(self, vp_index: int, state: str, since_ns: int, until_ns: int) -> None:
        """Add the time in which a processor was in a state."""
        last = self._span(until_ns)
        first = self._span(since_ns)
        lane = self._lane(vp_index, since_ns)
        if lane is None or until_ns <= since_ns:
            return
        start = self.start_ns or 0
        for span in range(first, last + 1):
            begin = max(since_ns, start + span * self.width_ns)
            end = min(until_ns, start + (span + 1) * self.width_ns)
            if end > begin:
                _add(lane.times, state, span, end - begin)

    def _lane(self, vp_index: int, time_ns: int) -> Lane | None:
        lane = self.lanes.get(vp_index)
        if lane is None:
            if len(self.lanes) >= MOST_LANES:
                self.left_out += 1
                return None
            lane = self.lanes[vp_index] = Lane(time_ns)
        return lane

    def _span(self, time_ns: int) -> int:
        if self.start_ns is None:
            self.start_ns = time_ns
        self.end_ns = max(self.end_ns, time_ns)
        # Traces of several sources may not be in order; what is before the start counts to it.
        offset = max(0, time_ns - self.start_ns)
        while offset // self.width_ns >= MOST_SPANS:
            self.width_ns *= 2
            for lane in self.lanes.values():
                for values in lane.series():
                    values[:] = [sum(values[at : at + 2]) for at in range(0, len(values), 2)]
        return offset // self.width_ns


def _add(series: dict[str, list[int]], name: str, span: int, amount: int) -> None:
    values = series.get(name)
    if values is None:
        values = series[name] = []
    if span >= len(values):
        values.extend([0] * (span + 1 - len(values)))
    values[span] += amount
