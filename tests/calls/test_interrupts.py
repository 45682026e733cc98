from collections.abc import Callable
from typing import Any

import pytest
from tests.calls.conftest import Guest
from tests.calls.trust_levels import CONTEXT_64, enter
from tests.calls.trust_levels import enable as enable_vtl

from hypercall.partition.configuration import ProcessorIdentity
from hypercall.partition.device_interrupts import InterruptEntry
from hypercall.partition.partition import VtlPartitionState
from hypercall.partition.virtual_processor import VirtualProcessorVtl

MakeGuest = Callable[..., Any]

IPI, IPI_EX = 0x0B, 0x15
VECTOR = 0xFE
SUCCESS, INPUT, PARAMETER, DENIED, VTL_STATE = 0, 3, 5, 6, 0x51


def enable(guest: Any) -> Any:
    for vp in guest.partition.processors:
        vp.current.apic.write_mmio(0xF0, 0x1FF)
    guest.effects.clear()
    return guest


def hit(guest: Any, vector: int = VECTOR, vtl: int = 0) -> set[int]:
    return {
        vp.index
        for vp in guest.partition.processors
        if vtl in vp.vtls and vp.vtls[vtl].apic.irr >> vector & 1
    }


def test_an_ipi_sets_the_request_and_wakes_the_target(guest: Any) -> None:
    enable(guest)
    assert guest.fast(IPI, VECTOR, 0b0100) == SUCCESS
    assert hit(guest) == {2}
    assert guest.effects.named("interrupt_changed") == [(guest.vp(2),)]
    assert guest.vp(2).current.apic.acknowledge() == VECTOR


def test_the_sender_may_be_a_target(guest: Any) -> None:
    enable(guest)
    assert guest.call(IPI, VECTOR, 0b1001) == SUCCESS
    assert hit(guest) == {0, 3}


def test_a_disabled_apic_drops_it(guest: Any) -> None:
    enable(guest)
    guest.vp(1).current.apic.write_mmio(0xF0, 0xFF)
    assert guest.call(IPI, VECTOR, 0b1110) == SUCCESS
    assert hit(guest) == {2, 3}


@pytest.mark.parametrize("vector", [0x10, 0xFF])
def test_the_first_and_the_last_vector(guest: Any, vector: int) -> None:
    enable(guest)
    assert guest.call(IPI, vector, 1) == SUCCESS
    assert hit(guest, vector) == {0}


@pytest.mark.parametrize("vector", [0, 2, 0x0F, 0x100, 0xFFFFFFFF])
def test_other_vectors_are_refused(make_guest: MakeGuest, vector: int) -> None:
    for reading, status in (("hyperv", 5), ("openvmm", 5), ("xen", 5), ("kvm", 3)):
        guest = enable(make_guest(reading=reading))
        assert guest.call(IPI, vector, 1) == status
        assert hit(guest) == set()
    assert guest.call(IPI_EX | 1 << 17, vector, 0, 1, 1) == INPUT


def test_nobody_and_nobody_there(guest: Any) -> None:
    enable(guest)
    assert guest.call(IPI, VECTOR, 0) == SUCCESS
    assert guest.call(IPI, VECTOR, 1 << 40) == SUCCESS
    assert guest.effects.effects == []


@pytest.mark.parametrize("word", [VECTOR | 1 << 48, VECTOR | 1 << 40, VECTOR | 0x20 << 32])
def test_reserved_bytes_are_refused(guest: Any, word: int) -> None:
    enable(guest)
    assert guest.call(IPI, word, 1) == PARAMETER
    assert hit(guest) == set()


class TestTargetVtl:
    def test_without_the_use_bit_the_number_is_ignored(self, guest: Any) -> None:
        enable(guest)
        assert guest.call(IPI, VECTOR | 0x01 << 32, 1) == SUCCESS
        assert hit(guest) == {0}

    def test_a_higher_vtl_is_denied(self, guest: Any) -> None:
        assert enable(guest).call(IPI, VECTOR | 0x11 << 32, 1) == DENIED

    def test_a_vtl_that_cannot_exist(self, guest: Any) -> None:
        assert enable(guest).call(IPI, VECTOR | 0x1F << 32, 1) == PARAMETER

    def test_xen_knows_no_vtl(self, make_guest: MakeGuest) -> None:
        guest = enable(make_guest(reading="xen"))
        assert guest.call(IPI, VECTOR | 0x10 << 32, 1) == PARAMETER

    def test_kvm_ignores_the_byte_until_there_are_vtls(self, make_guest: MakeGuest) -> None:
        guest = enable(make_guest(reading="kvm"))
        assert guest.call(IPI, VECTOR | 0x11 << 32, 1) == SUCCESS
        assert hit(guest) == {0}
        guest = enable(make_guest(reading="kvm"))
        enable_vtl(guest, 1)
        assert guest.call(IPI, VECTOR | 0x11 << 32, 1) == SUCCESS
        assert hit(guest) == set()
        assert hit(guest, vtl=1) == {0}
        assert guest.call(IPI, VECTOR | 0x12 << 32, 1) == VTL_STATE

    def test_from_a_higher_vtl(self, guest: Any) -> None:
        enable(guest)
        partition = guest.partition
        for vp in partition.processors[:2]:
            vp.vtls[2] = VirtualProcessorVtl(vp, 2)
            vp.vtls[2].apic.write_mmio(0xF0, 0x1FF)
        partition.vtls[2] = VtlPartitionState(partition, 2)
        state = partition.vtls[2].hypercall_page
        state.write_guest_os_id(1)
        state.write(0x2001, lockable=False)
        guest.vp().active_vtl = 2
        assert guest.fast(IPI, VECTOR, 0b1111) == SUCCESS
        assert hit(guest, vtl=2) == {0, 1}, "the sender's own VTL, where it is enabled"
        assert hit(guest, vtl=0) == set()
        assert guest.fast(IPI, VECTOR | 0x10 << 32, 0b1111) == SUCCESS
        assert hit(guest, vtl=0) == {0, 1, 2, 3}
        assert guest.fast(IPI, VECTOR | 0x11 << 32, 1) == VTL_STATE


class TestSets:
    @pytest.fixture
    def guest(self, make_guest: MakeGuest) -> Any:
        processors = tuple(ProcessorIdentity(index, index) for index in (0, 2, 65))
        return enable(make_guest(processors=processors))

    def test_in_memory(self, guest: Any) -> None:
        assert guest.call(IPI_EX | 1 << 17, VECTOR, 0, 1, 4) == SUCCESS
        assert hit(guest) == {2}
        assert guest.call(IPI_EX | 2 << 17, VECTOR, 0, 3, 4, 2) == SUCCESS
        assert hit(guest) == {2, 65}

    def test_in_registers(self, guest: Any) -> None:
        assert guest.fast(IPI_EX | 1 << 17, VECTOR, 0, 2, 2) == SUCCESS
        assert hit(guest) == {65}

    def test_format_all(self, guest: Any) -> None:
        assert guest.call(IPI_EX, VECTOR, 1, 0) == SUCCESS
        assert hit(guest) == {0, 2, 65}

    def test_banks_that_do_not_match(self, guest: Any) -> None:
        assert guest.call(IPI_EX, VECTOR, 0, 1) == PARAMETER

    def test_an_empty_set_and_no_vector(self, make_guest: MakeGuest) -> None:
        assert make_guest().call(IPI_EX, 0, 0, 0) == PARAMETER
        assert make_guest(reading="kvm").call(IPI_EX, 0, 0, 0) == SUCCESS
        assert make_guest().call(IPI_EX, VECTOR, 0, 0) == SUCCESS


RETARGET = 0x7E
DEVICE = 0x55
SELF = 2**64 - 1
MSI = 1
MULTICAST, SET = 1, 2


@pytest.fixture
def with_device(make_guest: Callable[..., Guest]) -> Guest:
    guest = make_guest(4)
    guest.partition.device_interrupts.add_device(DEVICE, [InterruptEntry(0x40, False, (0,))])
    return guest


def retarget(
    guest: Guest,
    mask: int,
    *rest: int,
    vector: int = 0x61,
    flags: int = 0,
    control: int = RETARGET,
    **changes: int,
) -> int:
    fields = {"partition": SELF, "device": DEVICE, "source": MSI, "reserved": 0} | changes
    entry = guest.partition.device_interrupts.message(changes.get("number", 0))
    return guest.call(
        control,
        fields["partition"],
        fields["device"],
        fields["source"],
        entry[0] | entry[1] << 32,
        fields["reserved"],
        vector | flags << 32,
        mask,
        *rest,
    )


def entry_of(guest: Guest) -> InterruptEntry:
    entry = guest.partition.device_interrupts.entry(DEVICE, 0)
    assert entry is not None
    return entry


def test_retarget_to_a_mask(with_device: Guest) -> None:
    assert retarget(with_device, 0b1010) == 0
    assert entry_of(with_device) == InterruptEntry(0x61, False, (1, 3))
    assert retarget(with_device, 0b0100, flags=MULTICAST, vector=0xFF) == 0
    assert entry_of(with_device) == InterruptEntry(0xFF, True, (2,))


def test_retarget_to_a_set(with_device: Guest) -> None:
    control = RETARGET | 2 << 17
    assert retarget(with_device, 0, 1, 0b0110, flags=SET | MULTICAST, control=control) == 0
    assert entry_of(with_device) == InterruptEntry(0x61, True, (1, 2))
    assert retarget(with_device, 1, flags=SET) == 0
    assert entry_of(with_device).targets == (0, 1, 2, 3)


def test_retarget_to_nobody_keeps_the_targets(with_device: Guest) -> None:
    assert retarget(with_device, 0) == 0
    assert entry_of(with_device) == InterruptEntry(0x61, False, (0,))


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param({"partition": 9}, 0xD, id="partition"),
        pytest.param({"device": 0x56}, 0x57, id="device"),
        pytest.param({"number": 1}, 5, id="interrupt"),
        pytest.param({"source": 2}, 5, id="io-apic"),
        pytest.param({"vector": 0xF}, 5, id="vector-low"),
        pytest.param({"vector": 0x100}, 5, id="vector-high"),
        pytest.param({"flags": 4}, 5, id="flag"),
        pytest.param({"mask": 0x10}, 5, id="no-such-processor"),
        pytest.param({"reserved": 1}, 5, id="reserved"),
        pytest.param({"flags": SET, "mask": 0}, 5, id="set-without-banks-mask"),
        pytest.param({"flags": SET, "mask": 2}, 5, id="set-format"),
    ],
)
def test_retarget_refusals(with_device: Guest, arguments: dict[str, int], status: int) -> None:
    mask = arguments.get("mask", 2)
    rest = {name: value for name, value in arguments.items() if name != "mask"}
    assert retarget(with_device, mask, **rest) == status
    assert entry_of(with_device) == InterruptEntry(0x40, False, (0,))


def test_retarget_with_a_set_whose_banks_do_not_match(with_device: Guest) -> None:
    control = RETARGET | 2 << 17
    assert retarget(with_device, 0, 3, 1, flags=SET, control=control) == 5


def test_retarget_in_registers(with_device: Guest) -> None:
    address, _ = with_device.partition.device_interrupts.message(0)
    words = (SELF, DEVICE, MSI, address, 0, 0x62, 0b100)
    assert with_device.fast(RETARGET, *words) == 0
    assert entry_of(with_device) == InterruptEntry(0x62, False, (2,))


class TestVtls:
    """The target VTL of IPIs: bits 3:0 of byte 4, used with bit 4."""

    def guest(self, make_guest: MakeGuest, reading: str = "hyperv") -> Any:
        guest = make_guest(reading=reading)
        enable_vtl(guest, 1, (0, 1))
        for index in (0, 1):
            for state in guest.vp(index).vtls.values():
                state.apic.write_mmio(0xF0, 0x1FF)
        return guest

    def pending(self, guest: Any, vp: int) -> list[int | None]:
        return [guest.vp(vp).vtls[vtl].apic.pending_vector() for vtl in (0, 1)]

    def test_a103_from_vtl_1_to_vtl_0(self, make_guest: MakeGuest) -> None:
        guest = self.guest(make_guest)
        enter(guest, 1)
        assert guest.call(IPI, 0x40 | 0x10 << 32, 1) == 0
        assert self.pending(guest, 0) == [0x40, None]
        assert guest.vp().interrupting_vtl() is None, "it waits for VTL 0 to run"

    def test_a108_to_ones_own_vtl(self, make_guest: MakeGuest) -> None:
        guest = self.guest(make_guest)
        enter(guest, 1)
        guest.vp(1).start(0, CONTEXT_64)
        guest.partition.vsm.vtl_return(guest.vp(1), True)
        assert guest.call(IPI, 0x40, 0b10) == 0
        assert self.pending(guest, 1) == [None, 0x40]
        assert guest.vp(1).interrupting_vtl() == 1
        assert guest.vp(1).active_vtl == 0, "it is entered before its next instruction"

    def test_a_processor_that_waits_for_its_start_up_is_entered_at_once(
        self, make_guest: MakeGuest
    ) -> None:
        guest = self.guest(make_guest)
        enter(guest, 1)
        assert guest.call(IPI, 0x40, 0b10) == 0
        assert guest.effects.named("switch_vtl") == [(guest.vp(1), 0, 1)]

    def test_a_vtl_that_a_target_does_not_have(self, make_guest: MakeGuest) -> None:
        guest = self.guest(make_guest)
        enter(guest, 1)
        assert guest.call(IPI, 0x40 | 0x11 << 32, 0b100) == 0
        assert guest.effects.named("interrupt_changed") == []

    def test_a_higher_vtl_by_reading(self, make_guest: MakeGuest) -> None:
        statuses = {
            name: self.guest(make_guest, name).call(IPI, 0x40 | 0x11 << 32, 1)
            for name in ("hyperv", "kvm", "xen", "openvmm")
        }
        assert statuses == {"hyperv": 6, "kvm": 0, "xen": 5, "openvmm": 6}
