"""The trace for ui.perfetto.dev: tracks of the virtual processors, with slices and flows.

The file is a sequence of ``TracePacket``; the field numbers are those of the public definitions
(``protos/perfetto/trace`` of the Perfetto project: ``trace_packet.proto``,
``track_event/track_event.proto``, ``track_descriptor.proto``, ``debug_annotation.proto``,
``interned_data.proto``).

Each virtual processor has a track for each VTL that it was seen in, with its calls and halts as
slices and the rest as instants, and a track of its levels once it changes them. Times are virtual.
"""

from __future__ import annotations

from collections.abc import Callable

from hypercall.abi.record import CallRecord
from hypercall.trace.description import RunDescription
from hypercall.trace.events import (
    ConsoleEvent,
    Event,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MessageEvent,
    Position,
    VtlEvent,
)
from hypercall.trace.flows import FlowMatcher
from hypercall.trace.hub import ALL_KINDS, EventKind, TraceHub
from hypercall.trace.kinds import EVENT_NAMES
from hypercall.trace.protobuf import (
    bytes_field,
    fixed64_field,
    number_field,
    text_field,
)
from hypercall.trace.remembered import Remembered
from hypercall.trace.shown import Values, event_name, event_values, show_call

_PACKET = 1
# TracePacket
_TIMESTAMP, _SEQUENCE, _TRACK_EVENT, _INTERNED, _SEQUENCE_FLAGS, _DESCRIPTOR = 8, 10, 11, 12, 13, 60
_CLEARED, _NEEDED = 1, 2
# TrackEvent
_ANNOTATION, _TYPE, _NAME_ID, _TRACK = 4, 9, 10, 11
_CATEGORY, _NAME, _FLOW, _FLOW_END = 22, 23, 47, 48
_BEGIN, _END, _INSTANT = 1, 2, 3
# TrackDescriptor
_UUID, _TRACK_NAME, _PARENT, _CHILD_ORDER, _RANK = 1, 2, 5, 11, 12
_EXPLICIT_ORDER = 3
# InternedData and DebugAnnotation
_EVENT_NAMES, _ANNOTATION_NAMES, _ID, _TEXT = 2, 3, 1, 2
_ANNOTATION_ID, _NUMBER_VALUE, _TEXT_VALUE = 1, 3, 6

_ONE_SEQUENCE = number_field(_SEQUENCE, 1)
_WITH_NAMES = _ONE_SEQUENCE + number_field(_SEQUENCE_FLAGS, _NEEDED)
_ROOT_TRACK = 1
# Names that repeat are numbered; a guest must not be able to make the table of them endless.
_MOST_NAMES = 4096
_MOST_TRACKS_AHEAD = 64
_LONGEST_NAME = 100


class PerfettoWriter:
    """Writes events as a Perfetto trace."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        symbol: Callable[[int], str | None],
        description: RunDescription | None = None,
    ) -> None:
        """Write to a function.

        Args:
            write: called with pieces of the file.
            symbol: the name of a guest-virtual address, or None.
            description: what runs; it names the tracks.
        """
        self._write = write
        self._symbol = symbol
        self._description = description or RunDescription()
        self._flows = FlowMatcher(self._description.cpus)
        self._calls = Remembered(self._call_details)
        self._names: dict[tuple[int, str], int] = {}
        self._tracks: dict[tuple[object, ...], int] = {}
        self._halts: dict[int, int] = {}
        self._levels: dict[int, int] = {}

    def attach(self, hub: TraceHub, *kinds: EventKind) -> Callable[[], None]:
        """Begin the file, and write every event of the given kinds, by default all.

        Returns:
            A function that stops it.
        """
        self.begin()
        return hub.subscribe(self.write, *(kinds or ALL_KINDS))

    def begin(self) -> None:
        """Write the start of the file."""
        self._packet(_ONE_SEQUENCE + number_field(_SEQUENCE_FLAGS, _CLEARED))
        name = self._description.image or "guest"
        self._describe_track(_ROOT_TRACK, f"hypercall: {name}", None, 0)
        for index in range(min(self._description.cpus or 0, _MOST_TRACKS_AHEAD)):
            self._vp_track(index, 0)

    def write(self, event: Event) -> None:
        """Write one event."""
        position = event.position
        match event:
            case HypercallEvent(record=record):
                self._write_call(position, record, event)
            case HaltEvent():
                self._write_halt(event)
            case VtlEvent():
                self._write_level(event)
            case InterruptEvent():
                flows = self._flows.arrived(event)
                self._instant(
                    event, b"".join(fixed64_field(_FLOW_END, flow.number) for flow in flows)
                )
            case MessageEvent():
                flow = self._flows.delivered(event)
                self._instant(event, b"" if flow is None else fixed64_field(_FLOW, flow.number))
            case ConsoleEvent(console=console):
                track = self._track(("console", console[:40]), console[:40], 1 << 20)
                self._instant(event, track=track)
            case _:
                self._instant(event)

    # --- kinds of events -------------------------------------------------------------------------

    def _write_call(self, position: Position, record: CallRecord, event: HypercallEvent) -> None:
        track = self._vp_track(position.vp_index, position.vtl)
        name, details = self._calls.of(record)
        site = position.rip if position.call_site is None else position.call_site
        if site:
            details += self._annotations([("from", self._symbol(site) or f"{site:#x}")])
        flows = self._flows.called(event)
        details += b"".join(fixed64_field(_FLOW, flow.number) for flow in flows)
        start = self._track_event(_BEGIN, track, EVENT_NAMES[HypercallEvent], name) + details
        self._event(record.entered_at, start)
        self._event(record.left_at, self._track_event(_END, track))

    def _call_details(self, record: CallRecord) -> tuple[str, bytes]:
        shown = show_call(record)
        values = [*shown.arguments, *shown.outputs, ("status", shown.outcome)]
        values.append(("control", f"{record.control:#x}"))
        return shown.name, self._annotations(values)

    def _write_halt(self, event: HaltEvent) -> None:
        position = event.position
        self._flows.saw(position.vp_index)
        if event.halted:
            track = self._vp_track(position.vp_index, position.vtl)
            if position.vp_index in self._halts:
                return
            self._halts[position.vp_index] = track
            self._event(position.time_ns, self._shown(_BEGIN, track, event))
        else:
            # It may go on in another VTL than it rested in.
            resting = self._halts.pop(position.vp_index, None)
            if resting is not None:
                self._event(position.time_ns, self._track_event(_END, resting))

    def _write_level(self, event: VtlEvent) -> None:
        position = event.position
        index = position.vp_index
        track = self._track(("levels", index), f"VP {index} levels", 3 * index)
        if self._levels.get(index) is not None:
            self._event(position.time_ns, self._track_event(_END, track))
        self._levels[index] = event.entered
        start = self._shown(_BEGIN, track, event)
        self._event(position.time_ns, start + self._annotations(event_values(event)))

    def _instant(self, event: Event, extra: bytes = b"", track: int = 0) -> None:
        position = event.position
        track = track or self._vp_track(position.vp_index, position.vtl)
        # Recorded traces of others have no places.
        values = [*event_values(event), *([("rip", f"{position.rip:#x}")] if position.rip else [])]
        data = self._shown(_INSTANT, track, event) + self._annotations(values) + extra
        self._event(position.time_ns, data)

    def _shown(self, kind: int, track: int, event: Event) -> bytes:
        name = event_name(event)[:_LONGEST_NAME]
        return self._track_event(kind, track, EVENT_NAMES[type(event)], name)

    # --- parts of packets ------------------------------------------------------------------------

    def _packet(self, data: bytes) -> None:
        self._write(bytes_field(_PACKET, data))

    def _event(self, time_ns: int, data: bytes) -> None:
        self._packet(
            number_field(_TIMESTAMP, time_ns) + _WITH_NAMES + bytes_field(_TRACK_EVENT, data)
        )

    def _track_event(self, kind: int, track: int, category: str = "", name: str = "") -> bytes:
        data = number_field(_TYPE, kind) + number_field(_TRACK, track)
        if name:
            number = self._interned(_EVENT_NAMES, name)
            data += text_field(_CATEGORY, category)
            data += number_field(_NAME_ID, number) if number else text_field(_NAME, name)
        return data

    def _annotations(self, values: Values) -> bytes:
        return b"".join(
            bytes_field(
                _ANNOTATION,
                number_field(_ANNOTATION_ID, self._interned(_ANNOTATION_NAMES, name))
                + (
                    number_field(_NUMBER_VALUE, value)
                    if isinstance(value, int)
                    else text_field(_TEXT_VALUE, value)
                ),
            )
            for name, value in values
        )

    def _interned(self, table: int, name: str) -> int:
        """Return the number of a name, which the file tells before it is used; 0 for none."""
        number = self._names.get((table, name))
        if number is None:
            if len(self._names) >= _MOST_NAMES and table == _EVENT_NAMES:
                return 0
            number = self._names[table, name] = len(self._names) + 1
            entry = number_field(_ID, number) + text_field(_TEXT, name)
            self._packet(_WITH_NAMES + bytes_field(_INTERNED, bytes_field(table, entry)))
        return number

    def _vp_track(self, index: int, vtl: int) -> int:
        name = f"VP {index} VTL {vtl}" if vtl else f"VP {index}"
        return self._track((index, vtl), name, 3 * index + 1 + vtl)

    def _track(self, key: tuple[object, ...], name: str, rank: int) -> int:
        number = self._tracks.get(key)
        if number is None:
            number = self._tracks[key] = _ROOT_TRACK + 1 + len(self._tracks)
            self._describe_track(number, name, _ROOT_TRACK, rank)
        return number

    def _describe_track(self, number: int, name: str, parent: int | None, rank: int) -> None:
        data = number_field(_UUID, number) + text_field(_TRACK_NAME, name)
        if parent is None:
            data += number_field(_CHILD_ORDER, _EXPLICIT_ORDER)
        else:
            data += number_field(_PARENT, parent) + number_field(_RANK, rank)
        self._packet(_ONE_SEQUENCE + bytes_field(_DESCRIPTOR, data))
