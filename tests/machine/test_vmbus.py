import struct

import pytest

from hypercall.machine.vmbus import VERSIONS, VmbusContactPoint
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.status import HvStatus

SIM_PAGE, VECTOR = 0x10000, 0xF3


class Guest:
    """A guest with two processors that posts channel messages and takes the answers."""

    def __init__(self) -> None:
        self.partition = standalone_partition(
            PartitionConfiguration(processors=processors_in_order(2), memory_size=1 << 20)
        ).partition
        self.vmbus = VmbusContactPoint(self.partition)
        for vp in self.partition.virtual_processors:
            vp.vtls[0].apic.write_mmio(0xF0, 0x1FF)
            synic = vp.vtls[0].synic
            synic.write_message_page(SIM_PAGE + vp.index * 0x1000 | 1)
            synic.write_control(1)
            for sint in (2, 5):
                synic.write_sint(sint, VECTOR)

    def post(self, payload: bytes, *, connection: int = 4, kind: int = 1) -> HvStatus:
        caller = self.partition.by_index[0].vtls[0]
        return self.partition.ports.post_message(caller, connection, kind, payload)

    def contact(self, version: int, *, vp: int = 0, sint: int = 2) -> HvStatus:
        target = struct.pack("<BBHI", sint, 0, 0, 0) if version >= 0x50000 else bytes(8)
        body = struct.pack("<II", version, vp) + target + struct.pack("<QQ", 0x1000, 0x2000)
        return self.post(struct.pack("<II", 14, 0) + body)

    def take(self, *, vp: int = 0, sint: int = 2) -> bytes | None:
        """The message in the slot, which is freed and acknowledged; None in an empty one."""
        slot = SIM_PAGE + vp * 0x1000 + sint * 256
        kind, size = struct.unpack("<IB", self.partition.memory.read(slot, 5))
        if not kind:
            return None
        assert kind == 1
        payload = self.partition.memory.read(slot + 16, size)
        self.partition.memory.write(slot, bytes(4))
        self.partition.by_index[vp].vtls[0].synic.scan_queues()
        return payload


@pytest.fixture
def guest() -> Guest:
    return Guest()


def response(supported: bool, answer: int) -> bytes:
    return struct.pack("<IIBBHI", 15, 0, supported, 0, 0, answer)


@pytest.mark.parametrize("version", VERSIONS)
def test_known_versions_are_accepted(guest: Guest, version: int) -> None:
    assert guest.contact(version) is HvStatus.SUCCESS
    # From 5.0 on the answer names the connection for all that follows.
    assert guest.take() == response(True, 4 if version >= 0x50000 else version)
    assert guest.vmbus.version == version


@pytest.mark.parametrize("version", [0x60000, 0x50004, 0, 0xFFFF_FFFF])
def test_unknown_versions_are_refused_and_another_can_be_tried(guest: Guest, version: int) -> None:
    guest.contact(version)
    assert guest.take() == response(False, 0)
    assert guest.vmbus.version is None
    guest.contact(0x50003)
    assert guest.take() == response(True, 4)


def test_the_answer_goes_where_the_guest_wants_it(guest: Guest) -> None:
    guest.contact(0x50003, vp=1, sint=5)
    assert guest.take() is None
    assert guest.take(vp=1, sint=5) == response(True, 4)
    apic = guest.partition.by_index[1].vtls[0].apic
    assert apic.pending_vector() == VECTOR


@pytest.mark.parametrize(("vp", "sint"), [(7, 2), (0xFFFF_FFFF, 2), (0, 16), (0, 255)])
def test_a_target_that_does_not_exist_is_replaced(guest: Guest, vp: int, sint: int) -> None:
    guest.contact(0x50003, vp=vp, sint=sint)
    assert guest.take() == response(True, 4)


def test_there_are_no_offers(guest: Guest) -> None:
    guest.contact(0x50003)
    guest.take()
    for connection in (1, 4):
        guest.post(struct.pack("<II", 3, 0), connection=connection)
        assert guest.take() == struct.pack("<II", 4, 0)


def test_offers_are_not_told_without_contact(guest: Guest) -> None:
    assert guest.post(struct.pack("<II", 3, 0)) is HvStatus.SUCCESS
    assert guest.take() is None
    assert guest.vmbus.ignored == 1


def test_unload_ends_the_contact(guest: Guest) -> None:
    guest.contact(0x50003, vp=1)
    guest.take(vp=1)
    guest.post(struct.pack("<II", 16, 0))
    assert guest.take(vp=1) == struct.pack("<II", 17, 0)
    assert guest.vmbus.version is None


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"", 1),
        (bytes(7), 1),
        (bytes(240), 1),
        (struct.pack("<II", 14, 0) + bytes(31), 1),
        (struct.pack("<II", 16, 0), 2),
        (b"\xff" * 240, 1),
    ],
)
def test_messages_without_meaning_are_ignored(guest: Guest, payload: bytes, kind: int) -> None:
    assert guest.post(payload, kind=kind) is HvStatus.SUCCESS
    assert guest.take() is None
    assert guest.vmbus.ignored == 1


def test_a_guest_that_takes_no_answers_is_told_to_wait(guest: Guest) -> None:
    results = [guest.contact(0x50003) for _ in range(1000)]
    # One answer is in the slot and 16 wait.
    assert results == [HvStatus.SUCCESS] * 17 + [HvStatus.INSUFFICIENT_BUFFERS] * 983
    answers = 0
    while guest.take() is not None:
        answers += 1
    assert answers == 17
    assert guest.contact(0x50003) is HvStatus.SUCCESS


def test_a_guest_whose_synic_is_off_gets_no_answer(guest: Guest) -> None:
    guest.partition.by_index[0].vtls[0].synic.write_control(0)
    assert guest.contact(0x50003) is HvStatus.SUCCESS
    assert guest.take() is None


def test_the_event_connection_takes_signals(guest: Guest) -> None:
    caller = guest.partition.by_index[0].vtls[0]
    assert guest.partition.ports.signal_event(caller, 2, 0) is HvStatus.SUCCESS
    assert guest.vmbus.signals == 1


def test_reset_forgets_the_guest(guest: Guest) -> None:
    guest.contact(0x50003, vp=1)
    guest.vmbus.reset()
    assert guest.vmbus.version is None
    guest.post(struct.pack("<II", 16, 0))
    assert guest.take() == struct.pack("<II", 17, 0)
