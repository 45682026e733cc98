import struct

import pytest

from hypercall.machine.devices.synic_test_device import SynicTestCommand, SynicTestDevice
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.partition import Partition
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.status import HvStatus

SINT, VECTOR, SIM_PAGE, SIEF_PAGE = 8, 0xB0, 0x10000, 0x20000


class Guest:
    """A partition whose two processors have their SynIC set up as kvm-unit-tests does it."""

    def __init__(self) -> None:
        self.partition: Partition = standalone_partition(
            PartitionConfiguration(processors=processors_in_order(2), memory_size=1 << 20)
        ).partition
        self.ignored: list[str] = []
        self.device = SynicTestDevice(self.partition, self.ignored.append)
        for vp in self.partition.virtual_processors:
            vp.vtls[0].apic.write_mmio(0xF0, 0x1FF)
            synic = vp.vtls[0].synic
            synic.write_message_page(SIM_PAGE + vp.index * 0x1000 | 1)
            synic.event_flags_page.write(SIEF_PAGE + vp.index * 0x1000 | 1)
            synic.write_control(1)
            synic.write_sint(SINT, VECTOR)

    def command(
        self, command: SynicTestCommand, *, vp: int = 0, sint: int = SINT, connection: int = 0
    ) -> None:
        self.device.write_port(0x3000, 4, connection << 24 | command << 16 | vp << 8 | sint)

    def pending(self, vp: int) -> int | None:
        return self.partition.by_index[vp].vtls[0].apic.pending_vector()

    def post(self, connection: int) -> HvStatus:
        caller = self.partition.by_index[0].vtls[0]
        return self.partition.ports.post_message(caller, connection, 0x12345678, b"payload!")

    def signal(self, connection: int) -> HvStatus:
        caller = self.partition.by_index[0].vtls[0]
        return self.partition.ports.signal_event(caller, connection, 0)


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_a_sint_is_set_through_its_route(guest: Guest) -> None:
    guest.command(SynicTestCommand.SET_SINT, vp=1)
    assert guest.pending(1) is None
    assert len(guest.ignored) == 1
    guest.command(SynicTestCommand.CREATE_SINT_ROUTE, vp=1)
    guest.command(SynicTestCommand.SET_SINT, vp=1)
    assert guest.pending(1) == VECTOR
    assert guest.pending(0) is None


def test_a_destroyed_route_sets_nothing(guest: Guest) -> None:
    guest.command(SynicTestCommand.CREATE_SINT_ROUTE)
    guest.command(SynicTestCommand.DESTROY_SINT_ROUTE)
    guest.command(SynicTestCommand.SET_SINT)
    assert guest.pending(0) is None
    guest.command(SynicTestCommand.DESTROY_SINT_ROUTE)
    assert len(guest.ignored) == 2


def test_a_message_connection_leads_to_the_slot(guest: Guest) -> None:
    guest.command(SynicTestCommand.CREATE_MESSAGE_CONNECTION, vp=1, connection=0x11)
    assert guest.post(0x11) is HvStatus.SUCCESS
    slot = guest.partition.memory.read(SIM_PAGE + 0x1000 + SINT * 256, 24)
    kind, size, flags = struct.unpack_from("<IBB", slot)
    assert (kind, size, flags) == (0x12345678, 8, 0)
    assert slot[16:] == b"payload!"
    assert guest.pending(1) == VECTOR
    guest.command(SynicTestCommand.DESTROY_MESSAGE_CONNECTION, connection=0x11)
    assert guest.post(0x11) is HvStatus.INVALID_CONNECTION_ID


def test_an_event_connection_sets_the_flag_of_its_own_number(guest: Guest) -> None:
    guest.command(SynicTestCommand.CREATE_EVENT_CONNECTION, vp=1, connection=0x21)
    assert guest.signal(0x21) is HvStatus.SUCCESS
    flags = guest.partition.memory.read(SIEF_PAGE + 0x1000 + SINT * 256, 256)
    assert int.from_bytes(flags, "little") == 1 << 0x21
    assert guest.pending(1) == VECTOR
    guest.command(SynicTestCommand.DESTROY_EVENT_CONNECTION, connection=0x21)
    assert guest.signal(0x21) is HvStatus.INVALID_CONNECTION_ID


def test_connections_can_be_made_again_for_ever(guest: Guest) -> None:
    for _ in range(100):
        guest.command(SynicTestCommand.CREATE_MESSAGE_CONNECTION, connection=0x11)
        guest.command(SynicTestCommand.DESTROY_MESSAGE_CONNECTION, connection=0x11)
    assert guest.ignored == []
    assert guest.partition.ports.ports == {}


@pytest.mark.parametrize("connection", [0x11, 0x21])
def test_a_connection_in_use_is_left_alone(guest: Guest, connection: int) -> None:
    guest.command(SynicTestCommand.CREATE_MESSAGE_CONNECTION, connection=0x11)
    guest.command(SynicTestCommand.CREATE_EVENT_CONNECTION, connection=0x21)
    before = dict(guest.partition.ports.connections)
    guest.command(SynicTestCommand.CREATE_MESSAGE_CONNECTION, connection=connection)
    guest.command(SynicTestCommand.CREATE_EVENT_CONNECTION, connection=connection)
    guest.command(SynicTestCommand.DESTROY_MESSAGE_CONNECTION, connection=0x21)
    guest.command(SynicTestCommand.DESTROY_EVENT_CONNECTION, connection=0x11)
    assert guest.partition.ports.connections == before
    assert len(guest.ignored) == 4


@pytest.mark.parametrize("value", [0, 0xFFFF_FFFF, 1 << 16 | 2 << 8, 1 << 16 | 16, 8 << 16])
def test_commands_without_meaning_are_ignored(guest: Guest, value: int) -> None:
    guest.device.write_port(0x3000, 4, value)
    assert len(guest.ignored) == 1


def test_only_whole_writes_count(guest: Guest) -> None:
    guest.device.write_port(0x3000, 2, 0xFFFF)
    guest.device.write_port(0x3002, 2, 1)
    assert guest.ignored == []
    assert guest.device.read_port(0x3000, 4) == 0
