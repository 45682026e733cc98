from collections.abc import Callable

import pytest
from tests.partition.synics import take

from hypercall.partition.faults import GeneralProtection
from hypercall.partition.ports import SintTarget
from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.synic import SINT_AUTO_EOI, SINT_MASKED, SINT_POLLING, Synic
from hypercall.tlfs.messages import Message
from hypercall.tlfs.status import HvStatus

MakePartition = Callable[..., StandalonePartition]

SIMP_PAGE, SIEFP_PAGE = 0x10, 0x11


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    box = make_partition(1)
    state = box.partition.bootstrap.current
    state.apic.write_mmio(0xF0, 0x1FF)
    state.synic.write_control(1)
    state.synic.write_message_page(SIMP_PAGE << 12 | 1)
    state.synic.event_flags_page.write(SIEFP_PAGE << 12 | 1)
    state.synic.write_sint(2, 0x62)
    return box


@pytest.fixture
def synic(box: StandalonePartition) -> Synic:
    return box.partition.bootstrap.current.synic


def slot(box: StandalonePartition, sint: int) -> Message:
    return Message.parse(box.partition.memory.read((SIMP_PAGE << 12) + sint * 256, 256))


def empty_slot(box: StandalonePartition, sint: int) -> None:
    box.partition.memory.write_u32((SIMP_PAGE << 12) + sint * 256, 0)


def test_a_message_arrives_in_its_slot_and_interrupts_once(box: StandalonePartition) -> None:
    port = box.partition.ports.create_message_port(SintTarget(0, 2), port_id=0x77)
    assert port.post(5, b"hello") is HvStatus.SUCCESS
    message = slot(box, 2)
    assert (message.message_type, message.payload, message.flags) == (5, b"hello", 0)
    assert message.sender == 0x77
    assert take(box) == 0x62
    assert take(box) is None


def test_a_busy_slot_keeps_its_message_and_shows_that_another_waits(
    box: StandalonePartition, synic: Synic
) -> None:
    port = box.partition.ports.create_message_port(SintTarget(0, 2))
    port.post(1, b"old")
    assert take(box) == 0x62
    assert port.post(1, b"new") is HvStatus.SUCCESS
    assert (slot(box, 2).payload, slot(box, 2).flags) == (b"old", 1)
    assert take(box) is None
    empty_slot(box, 2)
    synic.scan_queues()
    assert (slot(box, 2).payload, slot(box, 2).flags) == (b"new", 0)
    assert take(box) == 0x62
    assert take(box) is None


def test_the_end_of_the_interrupt_delivers_too(box: StandalonePartition) -> None:
    apic = box.partition.bootstrap.current.apic
    port = box.partition.ports.create_message_port(SintTarget(0, 2))
    port.post(1, b"one")
    port.post(1, b"two")
    port.post(1, b"three")
    apic.acknowledge()
    empty_slot(box, 2)
    apic.eoi()
    assert (slot(box, 2).payload, slot(box, 2).flags) == (b"two", 1)
    assert apic.acknowledge() == 0x62


def test_another_sints_end_of_interrupt_delivers_nothing(
    box: StandalonePartition, synic: Synic
) -> None:
    port = box.partition.ports.create_message_port(SintTarget(0, 2))
    port.post(1, b"one")
    port.post(1, b"two")
    empty_slot(box, 2)
    synic.end_of_interrupt(0x63)
    assert slot(box, 2).message_type == 0


def test_a_masked_sint_gets_the_message_without_interrupt(
    box: StandalonePartition, synic: Synic
) -> None:
    synic.write_sint(2, SINT_MASKED | 0x62)
    box.partition.ports.create_message_port(SintTarget(0, 2)).post(1, b"x")
    assert slot(box, 2).message_type == 1
    assert take(box) is None


def test_polling_mode_delivers_without_interrupt(box: StandalonePartition, synic: Synic) -> None:
    synic.write_sint(2, SINT_POLLING)
    assert not synic.masked(2)
    box.partition.ports.create_message_port(SintTarget(0, 2)).post(1, b"x")
    assert slot(box, 2).message_type == 1
    assert take(box) is None


def test_auto_eoi_leaves_nothing_in_service(box: StandalonePartition, synic: Synic) -> None:
    synic.write_sint(2, SINT_AUTO_EOI | 0x62)
    box.partition.ports.create_message_port(SintTarget(0, 2)).post(1, b"x")
    apic = box.partition.bootstrap.current.apic
    assert apic.acknowledge() == 0x62
    assert apic.isr == 0


@pytest.mark.parametrize("value", [0x0F, 0])
def test_an_unmasked_sint_needs_a_valid_vector(synic: Synic, value: int) -> None:
    with pytest.raises(GeneralProtection):
        synic.write_sint(0, value)
    synic.write_sint(0, SINT_MASKED | value)
    assert synic.sints[0] == SINT_MASKED | value


def test_a_pending_interrupt_keeps_its_vector(box: StandalonePartition, synic: Synic) -> None:
    synic.raise_sint(2)
    synic.write_sint(2, 0x72)
    assert take(box) == 0x62


def test_messages_wait_for_the_page_and_then_arrive(box: StandalonePartition, synic: Synic) -> None:
    port = box.partition.ports.create_message_port(SintTarget(0, 2))
    port.post(1, b"one")
    port.post(2, b"two")
    synic.write_message_page(0)
    assert port.post(3, b"x") is HvStatus.INVALID_SYNIC_STATE
    synic.write_message_page(SIMP_PAGE << 12 | 1)
    assert slot(box, 2).payload == b"one", "the page keeps its content while it is disabled"
    empty_slot(box, 2)
    synic.write_control(1)
    assert slot(box, 2).payload == b"two"


def test_the_page_is_an_overlay(box: StandalonePartition, synic: Synic) -> None:
    box.partition.ports.create_message_port(SintTarget(0, 2)).post(1, b"x")
    assert not any(box.partition.memory.ram)
    synic.write_message_page(1 << 50 | 1)
    assert synic.message_page.enabled
    assert box.partition.memory.read(SIMP_PAGE << 12, 4096) == bytes(4096)


def test_event_flags(box: StandalonePartition, synic: Synic) -> None:
    flags = (SIEFP_PAGE << 12) + 2 * 256
    assert synic.signal_event(2, 13) is HvStatus.SUCCESS
    assert box.partition.memory.read_u32(flags) == 1 << 13
    assert take(box) == 0x62
    assert synic.signal_event(2, 13) is HvStatus.SUCCESS
    assert take(box) is None, "the flag was set already"
    box.partition.memory.write_u32(flags, 0)
    synic.signal_event(2, 13)
    assert take(box) == 0x62
    assert synic.signal_event(2, 2047) is HvStatus.SUCCESS
    assert box.partition.memory.read(flags + 255, 1) == b"\x80"


def test_event_flags_need_synic_page_and_an_unmasked_sint(synic: Synic) -> None:
    assert synic.signal_event(3, 0) is HvStatus.INVALID_SYNIC_STATE
    synic.write_sint(3, 0x63)
    assert synic.signal_event(3, 0) is HvStatus.SUCCESS
    synic.write_control(0)
    assert synic.signal_event(3, 0) is HvStatus.INVALID_SYNIC_STATE
    synic.write_control(1)
    synic.event_flags_page.write(0)
    assert synic.signal_event(3, 0) is HvStatus.INVALID_SYNIC_STATE


def test_reset_frees_the_buffers_and_clears_the_pages(
    box: StandalonePartition, synic: Synic
) -> None:
    port = box.partition.ports.create_message_port(SintTarget(0, 2))
    for _ in range(4):
        port.post(1, b"x")
    assert synic.queue_length(2) == 3
    assert port.free_buffers == 13
    synic.reset()
    assert port.free_buffers == 16
    assert synic.queue_length(2) == 0
    assert synic.sints == [0x10000] * 16
    synic.write_control(1)
    synic.write_message_page(SIMP_PAGE << 12 | 1)
    assert slot(box, 2).message_type == 0


def test_what_comes_into_it_is_told(box: StandalonePartition, synic: Synic) -> None:
    told: list[tuple[object, ...]] = []
    box.partition.on_delivery = lambda *what: told.append(what)
    port = box.partition.ports.create_message_port(SintTarget(0, 2))
    port.post(5, b"one")
    port.post(6, b"waits")
    owner = synic.owner
    assert told == [(owner, 2, 0x62, 5)]
    empty_slot(box, 2)
    synic.scan_queues()
    assert told[1:] == [(owner, 2, 0x62, 6)]
    synic.write_sint(4, 0x64 | SINT_POLLING)
    synic.signal_event(4, 9)
    synic.signal_event(4, 9)
    assert told[2:] == [(owner, 4, None, None)]
