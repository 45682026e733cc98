import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as proto
from tests.trace.samples import send_ipi_record

from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tour import TOUR_CPUS, TOUR_PRIVILEGES, tour_image
from hypercall.trace import perfetto
from hypercall.trace.description import RunDescription
from hypercall.trace.events import (
    ConsoleEvent,
    CpuidEvent,
    Event,
    FindingEvent,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MessageEvent,
    MsrEvent,
    Position,
    VtlEvent,
)
from hypercall.trace.hub import ALL_KINDS, TraceHub
from hypercall.trace.perfetto import PerfettoWriter

BEGIN, END, INSTANT = (
    proto.TrackEvent.TYPE_SLICE_BEGIN,
    proto.TrackEvent.TYPE_SLICE_END,
    proto.TrackEvent.TYPE_INSTANT,
)


def at(time_ns: int, vp: int = 0, vtl: int = 0) -> Position:
    return Position(time_ns, vp, vtl, 0x1000)


def send_ipi(time_ns: int, mask: int) -> HypercallEvent:
    record = send_ipi_record(
        vp_index=0,
        output_register=mask,
        input=struct.pack("<IIQ", 0xFB, 0, mask),
        entered_at=time_ns,
        left_at=time_ns + 10,
    )
    return HypercallEvent(Position(time_ns, 0, 0, 0x1000, 0x2000), record)


def assert_all_known(message: Any) -> None:
    """Assert that no field of a message or of one within it has a number without a meaning."""
    assert not len(UnknownFieldSet(message))
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in value if isinstance(value, Sequence) else [value]:
                assert_all_known(each)


class Decoded:
    """A file as Perfetto's own definitions read it."""

    def __init__(self, data: bytes) -> None:
        self.trace = proto.Trace()
        self.trace.ParseFromString(data)
        self.tracks: dict[int, str] = {}
        self.parents: dict[int, int] = {}
        self.events: list[dict[str, Any]] = []
        names: dict[int, str] = {}
        annotations: dict[int, str] = {}
        for packet in self.trace.packet:
            assert packet.trusted_packet_sequence_id == 1
            assert_all_known(packet)
            for entry in packet.interned_data.event_names:
                names[entry.iid] = entry.name
            for entry in packet.interned_data.debug_annotation_names:
                annotations[entry.iid] = entry.name
            if packet.HasField("track_descriptor"):
                track = packet.track_descriptor
                self.tracks[track.uuid] = track.name
                self.parents[track.uuid] = track.parent_uuid
            if packet.HasField("track_event"):
                event = packet.track_event
                assert packet.sequence_flags & 2
                self.events.append(
                    {
                        "time": packet.timestamp,
                        "type": event.type,
                        "track": self.tracks[event.track_uuid],
                        "name": names[event.name_iid] if event.name_iid else event.name,
                        "category": "".join(event.categories),
                        "from": list(event.flow_ids),
                        "to": list(event.terminating_flow_ids),
                        "arguments": {
                            annotations[each.name_iid]: each.string_value or each.uint_value
                            for each in event.debug_annotations
                        },
                    }
                )

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["name"] == name]


def decoded(*events: Event, cpus: int | None = 2) -> Decoded:
    parts: list[bytes] = []
    description = RunDescription(image="vmlinuz", cpus=cpus)
    writer = PerfettoWriter(parts.append, {0x2000: "send+0x4"}.get, description)
    writer.begin()
    for event in events:
        writer.write(event)
    return Decoded(b"".join(parts))


def test_every_processor_has_a_track_below_the_guests() -> None:
    file = decoded(HaltEvent(at(5, 1, 2), True))
    assert list(file.tracks.values()) == ["hypercall: vmlinuz", "VP 0", "VP 1", "VP 1 VTL 2"]
    assert list(file.parents.values()) == [0, 1, 1, 1]
    assert file.trace.packet[0].sequence_flags == 1


def test_a_call_is_a_slice_with_its_fields() -> None:
    begin, end = decoded(send_ipi(100, 0b1)).events
    assert (begin["type"], begin["time"], begin["track"]) == (BEGIN, 100, "VP 0")
    assert (end["type"], end["time"], end["track"]) == (END, 110, "VP 0")
    assert begin["name"] == "HvCallSendSyntheticClusterIpi"
    assert begin["category"] == "hypercall"
    assert begin["arguments"] == {
        "vector": "0xfb",
        "target_vtl": "own",
        "processor_mask": "{0}",
        "status": "SUCCESS",
        "control": "0x1000b",
        "from": "send+0x4",
    }


def test_a_flow_leads_from_an_interrupt_to_its_arrivals() -> None:
    file = decoded(
        send_ipi(100, 0b11), InterruptEvent(at(120, 1), 0xFB), InterruptEvent(at(130), 0xFB)
    )
    (call,) = file.named("HvCallSendSyntheticClusterIpi")
    first, second = file.named("interrupt 0xfb")
    assert (first["track"], second["track"]) == ("VP 1", "VP 0")
    assert call["from"] == [*second["to"], *first["to"]]
    assert len(set(call["from"])) == 2


def test_a_flow_leads_from_a_message_to_its_interrupt() -> None:
    post = send_ipi(100, 0)
    post.record.declaration = DECLARATIONS.by_code[0x5C]
    post.record.control = 0x5C
    file = decoded(MessageEvent(at(100), 1, 0, 2, 0x62, 1), post, InterruptEvent(at(140, 1), 0x62))
    (message,), (call,) = file.named("message"), file.named("HvCallPostMessage")
    (interrupt,) = file.named("interrupt 0x62")
    assert message["from"] == call["from"] == interrupt["to"] == [1]
    assert message["arguments"] | {"rip": ""} == {
        "vp": 1,
        "vtl": 0,
        "sint": 2,
        "type": "0x1",
        "rip": "",
    }


def test_a_halt_ends_on_the_track_where_it_began() -> None:
    file = decoded(
        HaltEvent(at(10, 1), False),
        HaltEvent(at(20, 1), True),
        HaltEvent(at(25, 1), True),
        HaltEvent(at(30, 1, 1), False),
    )
    assert [(e["time"], e["type"], e["track"]) for e in file.events] == [
        (20, BEGIN, "VP 1"),
        (30, END, "VP 1"),
    ]


def test_levels_are_slices_on_a_track_of_their_own() -> None:
    file = decoded(VtlEvent(at(10), 1, "call"), VtlEvent(at(20, 0, 1), 0, "return"))
    assert [(e["time"], e["type"], e["name"], e["track"]) for e in file.events] == [
        (10, BEGIN, "VTL 1", "VP 0 levels"),
        (20, END, "", "VP 0 levels"),
        (20, BEGIN, "VTL 0", "VP 0 levels"),
    ]
    assert file.events[0]["arguments"] == {"reason": "call"}


def test_the_rest_are_instants() -> None:
    file = decoded(
        MsrEvent(at(1), 0x40000070, 0, True),
        CpuidEvent(at(2), 0x40000003, 0, (1, 2, 3, 4)),
        ConsoleEvent(at(3), b"hello\xff"),
        MachineEvent(at(4), "reset", "the guest reset itself"),
        FindingEvent(at(5), "overlap", "error", "input and output overlap"),
        MessageEvent(at(6), 1, 0, 2, None, None),
    )
    assert all(event["type"] == INSTANT for event in file.events)
    assert [(e["category"], e["name"]) for e in file.events] == [
        ("msr", "wrmsr EOI"),
        ("cpuid", "cpuid 0x40000003"),
        ("console", "output"),
        ("machine", "reset"),
        ("finding", "overlap"),
        ("message", "event flag"),
    ]
    assert file.events[2]["track"] == "ttyS0"
    assert file.events[2]["arguments"]["text"] == "hello\ufffd"
    assert file.events[4]["arguments"]["text"] == "input and output overlap"


def test_names_without_end_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfetto, "_MOST_NAMES", 10)
    file = decoded(*(MsrEvent(at(index), index, 0, False) for index in range(100)))
    assert [event["name"] for event in file.events] == [f"rdmsr {n:#x}" for n in range(100)]


def test_all_kinds_are_written_unless_fewer_are_wanted() -> None:
    hub = TraceHub()
    parts: list[bytes] = []
    stop = PerfettoWriter(parts.append, lambda address: None).attach(hub)
    assert all(hub.wants(kind) for kind in ALL_KINDS)
    assert parts
    stop()
    PerfettoWriter(parts.append, lambda address: None).attach(hub, HaltEvent)
    assert not hub.wants(MsrEvent)


def test_the_trace_of_a_guest() -> None:
    machine = Machine(MachineConfiguration(cpus=TOUR_CPUS, privileges=TOUR_PRIVILEGES))
    machine.load(tour_image(), image_format="flat")
    parts: list[bytes] = []
    PerfettoWriter(parts.append, machine.symbol, machine.describe()).attach(machine.trace)
    machine.run(10_000_000_000)
    file = Decoded(b"".join(parts))
    depth: dict[str, int] = defaultdict(int)
    last = 0
    for event in file.events:
        depth[event["track"]] += {BEGIN: 1, END: -1}.get(event["type"], 0)
        assert depth[event["track"]] >= 0
        last = max(last, event["time"])
    assert last > 0
    sent = {number for event in file.events for number in event["from"]}
    arrived = {number for event in file.events for number in event["to"]}
    assert arrived
    assert arrived <= sent
    assert {"VP 0", "VP 1", "VP 0 VTL 1", "VP 0 levels"} <= set(file.tracks.values())
