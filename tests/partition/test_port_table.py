from collections.abc import Callable

import pytest
from tests.partition.synics import enable_synic

from hypercall.errors import InputError
from hypercall.partition.ports import (
    PostedMessage,
    SignaledEvent,
    SintTarget,
)
from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.virtual_processor import VirtualProcessorVtl
from hypercall.tlfs.status import HvStatus

MakePartition = Callable[..., StandalonePartition]


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    box = make_partition(2)
    for vp in box.partition.processors:
        enable_synic(vp.current)
    return box


def caller(box: StandalonePartition) -> VirtualProcessorVtl:
    return box.partition.bootstrap.current


def test_why_a_message_cannot_be_posted(box: StandalonePartition) -> None:
    ports = box.partition.ports

    def post(connection: int) -> HvStatus:
        return ports.post_message(caller(box), connection, 1, b"")

    assert post(1) is HvStatus.INVALID_CONNECTION_ID
    gone = ports.create_message_port(SintTarget(9, 2))
    ports.connect(1, gone)
    assert post(1) is HvStatus.INVALID_VP_INDEX
    events = ports.create_event_port(SintTarget(0, 2))
    ports.connect(2, events)
    assert post(2) is HvStatus.INVALID_PORT_ID
    other_vtl = ports.create_message_port(SintTarget(0, 2, vtl=1))
    ports.connect(3, other_vtl)
    assert post(3) is HvStatus.INVALID_VP_INDEX
    high = ports.create_message_port(SintTarget(0, 2))
    ports.connect(4, high, minimum_vtl=2)
    assert post(4) is HvStatus.OPERATION_DENIED
    ports.connect(5, high)
    ports.delete(high)
    assert post(5) is HvStatus.INVALID_PORT_ID
    ports.disconnect(5)
    assert post(5) is HvStatus.INVALID_CONNECTION_ID


def test_events_are_relative_to_the_ports_flags(box: StandalonePartition) -> None:
    ports = box.partition.ports
    port = ports.create_event_port(SintTarget(1, 2), base_flag=8, flag_count=4)
    ports.connect(2, port)

    def signal(flag: int) -> HvStatus:
        return ports.signal_event(caller(box), 2, flag)

    assert signal(3) is HvStatus.SUCCESS
    assert signal(4) is HvStatus.INVALID_PARAMETER
    page = box.partition.by_index[1].current.synic.event_flags_page.view
    assert page is not None
    assert int.from_bytes(page[2 * 256 : 2 * 256 + 4], "little") == 1 << 11
    assert ports.signal_event(caller(box), 3, 0) is HvStatus.INVALID_CONNECTION_ID
    ports.connect(3, ports.create_message_port(SintTarget(1, 2)))
    assert ports.signal_event(caller(box), 3, 0) is HvStatus.INVALID_PORT_ID
    ports.connect(4, port, minimum_vtl=1)
    assert ports.signal_event(caller(box), 4, 0) is HvStatus.OPERATION_DENIED
    ports.delete(port)
    assert signal(0) is HvStatus.INVALID_PORT_ID


def test_a_host_port_hands_messages_and_events_to_functions(box: StandalonePartition) -> None:
    ports = box.partition.ports
    messages: list[PostedMessage] = []
    events: list[SignaledEvent] = []

    def receive(message: PostedMessage) -> bool:
        messages.append(message)
        return len(messages) < 2

    ports.connect(1, ports.create_host_message_port(receive))
    ports.connect(2, ports.create_host_event_port(events.append, flag_count=1))
    assert ports.post_message(caller(box), 1, 9, b"ping") is HvStatus.SUCCESS
    assert ports.post_message(caller(box), 1, 9, b"pong") is HvStatus.INSUFFICIENT_BUFFERS
    assert messages[0] == PostedMessage(1, 9, b"ping", 0, 0)
    assert ports.signal_event(caller(box), 2, 0) is HvStatus.SUCCESS
    assert ports.signal_event(caller(box), 2, 1) is HvStatus.INVALID_PARAMETER
    assert events == [SignaledEvent(2, 0, 0, 0)]


def test_bad_requests_of_the_host_are_refused_in_words(box: StandalonePartition) -> None:
    ports = box.partition.ports
    port = ports.create_message_port(SintTarget(0, 1), port_id=5)
    ports.connect(1, port)
    with pytest.raises(InputError, match="port id 0x5 is taken"):
        ports.create_message_port(SintTarget(0, 1), port_id=5)
    with pytest.raises(InputError, match="24 bits"):
        ports.connect(1 << 24, port)
    with pytest.raises(InputError, match="connection id 0x1 is taken"):
        ports.connect(1, port)
    with pytest.raises(InputError, match="no connection 0x9"):
        ports.disconnect(9)
    with pytest.raises(InputError, match="no SINT 16"):
        SintTarget(0, 16)
    with pytest.raises(InputError, match="do not lie within"):
        ports.create_event_port(SintTarget(0, 1), base_flag=2000, flag_count=100)
    with pytest.raises(InputError, match="at most 240"):
        port.post(1, bytes(241))
    ports.delete(port)
    with pytest.raises(InputError, match="not a port"):
        ports.delete(port)
