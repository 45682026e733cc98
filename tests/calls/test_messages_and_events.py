from collections.abc import Callable
from typing import Any

import pytest

from hypercall.partition.configuration import DEFAULT_PRIVILEGES
from hypercall.partition.ports import PostedMessage, SintTarget
from hypercall.tlfs.messages import Message
from hypercall.tlfs.privileges import Privilege

MakeGuest = Callable[..., Any]

POST, SIGNAL = 0x5C, 0x5D
CONNECTION = 0x10
SIMP, SIEFP = 0x10000, 0x11000
PAYLOAD = 0x1111111111111111
REST = [0] * 29


def ready(guest: Any, target: int = 1) -> Any:
    synic = guest.vp(target).current.synic
    guest.vp(target).current.apic.write_mmio(0xF0, 0x1FF)
    synic.write_control(1)
    synic.write_message_page(SIMP | 1)
    synic.event_flags_page.write(SIEFP | 1)
    synic.write_sint(2, 0x62)
    ports = guest.partition.ports
    ports.connect(CONNECTION, ports.create_message_port(SintTarget(target, 2), port_id=0x99))
    ports.connect(
        CONNECTION + 1, ports.create_event_port(SintTarget(target, 2), base_flag=16, flag_count=8)
    )
    return guest


def post(guest: Any, payload: int = PAYLOAD, *, kind: int = 0x12345678, size: int = 8) -> int:
    result: int = guest.call(POST, CONNECTION, kind | size << 32, payload, *REST)
    return result


def slot(guest: Any) -> Message:
    return Message.parse(guest.partition.memory.read(SIMP + 2 * 256, 256))


def test_a_message_reaches_the_port(guest: Any) -> None:
    ready(guest)
    assert post(guest) == 0
    message = slot(guest)
    assert (message.message_type, message.payload) == (0x12345678, PAYLOAD.to_bytes(8, "little"))
    assert message.sender == 0x99
    assert guest.vp(1).pending_vector() == 0x62


def test_a_full_slot_then_end_of_message(guest: Any) -> None:
    ready(guest)
    post(guest)
    guest.vp(1).current.apic.acknowledge()
    guest.vp(1).current.apic.eoi()
    assert post(guest, PAYLOAD + 1) == 0
    assert slot(guest).payload == PAYLOAD.to_bytes(8, "little")
    assert slot(guest).flags == 1
    assert guest.vp(1).pending_vector() is None
    guest.partition.memory.write_u32(SIMP + 2 * 256, 0)
    guest.partition.msrs.write(guest.vp(1), 0x40000084, 0)
    assert slot(guest).payload == (PAYLOAD + 1).to_bytes(8, "little")
    assert slot(guest).flags == 0
    assert guest.vp(1).pending_vector() == 0x62


def test_the_buffers_of_a_port_run_out_and_come_back(guest: Any) -> None:
    ready(guest)
    assert [post(guest) for _ in range(18)] == [0] * 17 + [0x13]
    guest.partition.memory.write_u32(SIMP + 2 * 256, 0)
    guest.partition.msrs.write(guest.vp(1), 0x40000084, 0)
    assert post(guest) == 0


@pytest.mark.parametrize(("kind", "status"), [(0, 5), (1 << 31, 5), (1, 0), (0x7FFFFFFF, 0)])
def test_message_types_of_the_hypervisor_are_refused(guest: Any, kind: int, status: int) -> None:
    assert post(ready(guest), kind=kind) == status


@pytest.mark.parametrize(("reading", "status"), [("hyperv", 5), ("openvmm", 5), ("kvm", 3)])
def test_a_payload_above_240_bytes(make_guest: MakeGuest, reading: str, status: int) -> None:
    guest = ready(make_guest(reading=reading), target=0)
    assert post(guest, size=241) == status
    assert post(guest, size=240) == 0
    assert len(slot(guest).payload) == 240


def test_only_the_bytes_of_the_size_are_sent(guest: Any) -> None:
    ready(guest)
    assert post(guest, size=0) == 0
    assert slot(guest).payload == b""
    assert guest.partition.memory.read(SIMP + 2 * 256 + 16, 8) == bytes(8)


def test_unknown_connections(make_guest: MakeGuest) -> None:
    assert make_guest().call(POST, 0x77, 1 | 8 << 32, 0, *REST) == 0x12
    guest = ready(make_guest())
    assert guest.call(POST, CONNECTION | 1 << 24, 1 | 8 << 32, 0, *REST) == 0x12
    guest = ready(make_guest(reading="kvm"), target=0)
    assert guest.call(POST, CONNECTION | 1 << 24, 1 | 8 << 32, 0, *REST) == 0


def test_a_target_that_does_not_listen(guest: Any) -> None:
    ready(guest)
    guest.partition.msrs.write(guest.vp(1), 0x40000083, 0)
    assert post(guest) == 0x18
    guest.partition.msrs.write(guest.vp(1), 0x40000083, SIMP | 1)
    guest.partition.msrs.write(guest.vp(1), 0x40000080, 0)
    assert post(guest) == 0x18


def test_the_callers_own_synic_matters_to_kvm_only(make_guest: MakeGuest) -> None:
    assert post(ready(make_guest())) == 0
    assert post(ready(make_guest(reading="kvm"))) == 3


def test_without_the_privilege(make_guest: MakeGuest) -> None:
    without = Privilege(DEFAULT_PRIVILEGES & ~(Privilege.POST_MESSAGES | Privilege.SIGNAL_EVENTS))
    guest = ready(make_guest(privileges=without))
    assert post(guest) == 6
    assert guest.fast(SIGNAL, CONNECTION + 1) == 6


def test_a_message_to_the_host(guest: Any) -> None:
    ports = guest.partition.ports
    port = ports.create_host_message_port()
    ports.connect(4, port)
    assert guest.call(POST, 4, 1 | 4 << 32, 0x44434241, *REST, vp=2) == 0
    assert list(port.waiting) == [PostedMessage(4, 1, b"ABCD", 2, 0)]


def test_the_register_form_has_no_room(guest: Any) -> None:
    assert ready(guest).fast(POST, CONNECTION, 0x812345678) == 3


def test_an_event(guest: Any) -> None:
    ready(guest)
    assert guest.fast(SIGNAL, CONNECTION + 1 | 3 << 32) == 0
    assert guest.partition.memory.read_u32(SIEFP + 2 * 256) == 1 << 19
    assert guest.vp(1).pending_vector() == 0x62
    assert guest.call(SIGNAL, CONNECTION + 1 | 8 << 32) == 5
    assert guest.call(SIGNAL, CONNECTION + 1 | 1 << 48) == 5
    assert guest.call(SIGNAL, CONNECTION) == 0x11
    assert guest.call(SIGNAL, 0x77) == 0x12
    guest.partition.msrs.write(guest.vp(1), 0x40000092, 0x10062)
    assert guest.fast(SIGNAL, CONNECTION + 1) == 0x18
