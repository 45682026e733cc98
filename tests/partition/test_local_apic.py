from collections.abc import Callable

import pytest
from tests.partition.apics import enabled_apics, one_apic

from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.local_apic import MASKED
from hypercall.partition.standalone import StandalonePartition, standalone_partition

MakePartition = Callable[..., StandalonePartition]

LDR, DFR, SVR, ESR = 0xD0, 0xE0, 0xF0, 0x280
ICR_LOW, ICR_HIGH, LVT_ERROR = 0x300, 0x310, 0x370


def test_registers_show_requests_and_service() -> None:
    _, apic = one_apic()
    apic.request(0x41, level=True)
    apic.request(0x63)
    apic.acknowledge()
    assert apic.read_mmio(0x130) == 1 << 3, "ISR 0x60-0x7F"
    assert apic.read_mmio(0x220) == 1 << 1, "IRR 0x40-0x5F"
    assert apic.read_mmio(0x1A0) == 1 << 1, "TMR 0x40-0x5F"
    assert apic.read_mmio(0x30) == 0x50014
    assert apic.read_mmio(0x31, 1) == 0
    assert apic.read_mmio(0x34) == 0


def test_an_ipi_reaches_the_apic_id_and_not_the_vp_index() -> None:
    box = standalone_partition(
        PartitionConfiguration(
            processors=processors_in_order(4, shuffle_vp_index=5), memory_size=1 << 20
        )
    )
    enabled_apics(box)
    sender = box.partition.by_apic_id[0]
    sender.current.apic.write_mmio(ICR_HIGH, 2 << 24)
    sender.current.apic.write_mmio(ICR_LOW, 0x41)
    pending = {vp.apic_id for vp in box.partition.processors if vp.pending_vector() == 0x41}
    assert pending == {2}
    assert box.partition.by_apic_id[2].index != 2


@pytest.mark.parametrize(("shorthand", "expected"), [(1, {0}), (2, {0, 1, 2}), (3, {1, 2})])
def test_shorthands(make_partition: MakePartition, shorthand: int, expected: set[int]) -> None:
    box = make_partition(3)
    apics = enabled_apics(box)
    apics[0].write_mmio(ICR_LOW, shorthand << 18 | 0x42)
    assert {n for n, apic in enumerate(apics) if apic.pending_vector() == 0x42} == expected


def test_logical_destinations_in_flat_and_cluster_mode(make_partition: MakePartition) -> None:
    box = make_partition(3)
    apics = enabled_apics(box)
    for number, apic in enumerate(apics):
        apic.write_mmio(LDR, 1 << 24 + number)
    apics[0].write_icr(0b110 << 56 | 1 << 11 | 0x50)
    assert [apic.pending_vector() for apic in apics] == [None, 0x50, 0x50]
    for number, apic in enumerate(apics):
        apic.write_mmio(DFR, 0x0FFFFFFF)
        apic.write_mmio(LDR, (0x10 << number | 1) << 24)
    apics[0].write_icr(0x21 << 56 | 1 << 11 | 0x60)
    assert [apic.pending_vector() for apic in apics] == [None, 0x60, 0x50]
    apics[0].write_icr(0xF1 << 56 | 1 << 11 | 0x70)
    assert [apic.pending_vector() for apic in apics] == [0x70] * 3


def test_lowest_priority_goes_to_one_processor(make_partition: MakePartition) -> None:
    box = make_partition(3)
    apics = enabled_apics(box)
    apics[0].write_task_priority(0x20)
    apics[0].write_icr(0xFF << 56 | 1 << 8 | 0x60)
    assert [apic.pending_vector() for apic in apics] == [None, 0x60, None]


def test_init_and_start_up_messages(make_partition: MakePartition) -> None:
    box = make_partition(2)
    sender = enabled_apics(box)[0]
    target = box.partition.by_apic_id[1]
    sender.write_icr(1 << 56 | 1 << 15 | 1 << 14 | 5 << 8)
    assert target.current.apic.software_enabled is False
    assert box.effects.named("init_processor") == [(target,)]
    sender.write_icr(1 << 56 | 1 << 15 | 5 << 8)
    assert len(box.effects.named("init_processor")) == 1, "the de-assert does nothing"
    sender.write_icr(1 << 56 | 6 << 8 | 0x9A)
    sender.write_icr(1 << 56 | 6 << 8 | 0x9B)
    assert box.effects.named("startup_processor") == [(target, 0x9A)]


def test_an_nmi_goes_past_the_apic(make_partition: MakePartition) -> None:
    box = make_partition(2)
    enabled_apics(box)[0].write_icr(1 << 56 | 4 << 8 | 2)
    assert box.effects.named("nmi") == [(box.partition.by_apic_id[1], 0)]


def test_an_illegal_vector_is_an_error_that_the_status_register_shows() -> None:
    _, apic = one_apic()
    apic.write_mmio(LVT_ERROR, 0xE0)
    apic.write_icr(0x0F)
    assert apic.read_mmio(ESR) == 0
    apic.write_mmio(ESR, 0)
    assert apic.read_mmio(ESR) == 1 << 5
    assert apic.pending_vector() == 0xE0


def test_software_disable_masks_the_local_vectors() -> None:
    _, apic = one_apic()
    apic.write_mmio(0x350, 0x700)
    assert apic.read_mmio(0x350) == 0x700
    apic.write_mmio(SVR, 0xFF)
    assert apic.read_mmio(0x350) == 0x700 | MASKED
    apic.write_mmio(0x350, 0x700)
    assert apic.read_mmio(0x350) == 0x700 | MASKED


class TestModes:
    def test_base_changes_that_the_architecture_forbids(self) -> None:
        _, apic = one_apic(x2apic=True)
        with pytest.raises(GeneralProtection):
            apic.write_base(0xFEE00000 | 1 << 10)
        with pytest.raises(GeneralProtection):
            apic.write_base(0xFEE00000 | 1 << 9)
        apic.write_base(0xFEE00000 | 3 << 10)
        with pytest.raises(GeneralProtection):
            apic.write_base(0xFEE00000 | 1 << 11)
        apic.write_base(0xFEE00000)
        assert not apic.enabled
        with pytest.raises(GeneralProtection):
            apic.write_base(0xFEE00000 | 3 << 10)
        apic.write_base(0xFEE00000 | 1 << 11)
        assert apic.base == 0xFEE00000 | 1 << 11 | 1 << 8, "the bootstrap bit stays"

    def test_without_the_feature_there_is_no_x2apic_mode(self) -> None:
        _, apic = one_apic()
        with pytest.raises(GeneralProtection):
            apic.write_base(0xFEE00000 | 3 << 10)
        with pytest.raises(GeneralProtection):
            apic.read_x2apic(2)

    def test_x2apic_registers(self, make_partition: MakePartition) -> None:
        box = make_partition(2, x2apic=True)
        apics = enabled_apics(box)
        for apic in apics:
            apic.write_base(0xFEE00000 | 3 << 10)
        assert apics[1].read_x2apic(0x02) == 1
        assert apics[1].read_x2apic(0x0D) == 1 << 1
        assert apics[0].read_mmio(0x20) == 0xFFFFFFFF
        apics[0].write_x2apic(0x30, 1 << 32 | 0x44)
        assert apics[1].pending_vector() == 0x44
        apics[0].write_x2apic(0x30, 2 << 32 | 1 << 11 | 0x55)
        assert apics[1].pending_vector() == 0x55
        apics[0].write_x2apic(0x3F, 0x66)
        assert apics[0].acknowledge() == 0x66
        apics[0].write_x2apic(0x0B, 0)
        assert apics[0].isr == 0
        for number, value in ((0x0B, 1), (0x02, 0), (0x08, 1 << 32)):
            with pytest.raises(GeneralProtection):
                apics[0].write_x2apic(number, value)
        with pytest.raises(GeneralProtection):
            apics[0].read_x2apic(0x0B)
