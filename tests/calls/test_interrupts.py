from collections.abc import Callable
from typing import Any

import pytest

from hypercall.partition.configuration import ProcessorIdentity
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
