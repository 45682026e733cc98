from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.partition.synics import enable_synic

from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.ports import (
    MESSAGE_BUFFERS,
    SintTarget,
)
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessorVtl
from hypercall.tlfs.identifiers import ANY_VP
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


def test_a_port_has_sixteen_message_buffers(box: StandalonePartition) -> None:
    ports = box.partition.ports
    port = ports.create_message_port(SintTarget(1, 5))
    ports.connect(7, port)
    # The first goes into the slot at once, which frees its buffer.
    for _ in range(1 + MESSAGE_BUFFERS):
        assert ports.post_message(caller(box), 7, 1, b"x") is HvStatus.SUCCESS
    assert ports.post_message(caller(box), 7, 1, b"x") is HvStatus.INSUFFICIENT_BUFFERS
    synic = box.partition.by_index[1].current.synic
    page = synic.message_page.view
    assert page is not None
    page[5 * 256 : 5 * 256 + 4] = bytes(4)
    synic.scan_queues()
    assert ports.post_message(caller(box), 7, 1, b"x") is HvStatus.SUCCESS


def test_any_vp_takes_one_that_can_receive(box: StandalonePartition) -> None:
    ports = box.partition.ports
    port = ports.create_message_port(SintTarget(ANY_VP, 4))
    first, second = (vp.current.synic for vp in box.partition.virtual_processors)
    first.write_control(0)
    assert port.post(1, b"to the second") is HvStatus.SUCCESS
    page = second.message_page.view
    assert page is not None
    assert bytes(page[4 * 256 + 16 :][:13]) == b"to the second"
    second.write_message_page(0)
    assert port.post(1, b"") is HvStatus.INVALID_SYNIC_STATE


def test_a_host_port_without_receiver_keeps_sixteen_messages(box: StandalonePartition) -> None:
    ports = box.partition.ports
    port = ports.create_host_message_port()
    ports.connect(1, port)
    answers = [ports.post_message(caller(box), 1, 1, bytes([n])) for n in range(17)]
    assert answers == [HvStatus.SUCCESS] * 16 + [HvStatus.INSUFFICIENT_BUFFERS]
    assert [message.payload[0] for message in port.waiting] == list(range(16))


@given(st.lists(st.sampled_from(["post", "empty", "eom"]), max_size=80))
def test_no_message_is_lost_doubled_or_reordered(steps: list[str]) -> None:
    box = standalone_partition(
        PartitionConfiguration(processors=processors_in_order(1), memory_size=1 << 20)
    )
    state = box.partition.bootstrap.current
    enable_synic(state)
    port = box.partition.ports.create_message_port(SintTarget(0, 2))
    page = state.synic.message_page.view
    assert page is not None
    posted: list[int] = []
    received: list[int] = []
    for number, step in enumerate(steps):
        if step == "post":
            status = port.post(1, number.to_bytes(4, "little"))
            full = len(posted) - len(received) == 1 + MESSAGE_BUFFERS
            assert status is (HvStatus.INSUFFICIENT_BUFFERS if full else HvStatus.SUCCESS)
            if status is HvStatus.SUCCESS:
                posted.append(number)
        elif step == "empty" and page[2 * 256]:
            received.append(int.from_bytes(page[2 * 256 + 16 :][:4], "little"))
            page[2 * 256] = 0
            # A post scans the queues of its own accord; the guest does so by EOM.
            state.synic.scan_queues()
        else:
            state.synic.scan_queues()
        assert received == posted[: len(received)]
        in_slot = int(bool(page[2 * 256]))
        assert len(received) + in_slot + state.synic.queue_length(2) == len(posted)
