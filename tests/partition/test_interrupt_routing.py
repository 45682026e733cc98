from collections.abc import Callable

from hypercall.partition.interrupt_routing import (
    DeliveryMode,
    deliver,
    destinations,
    send_message_signalled,
)
from hypercall.partition.standalone import StandalonePartition

MakePartition = Callable[..., StandalonePartition]


def enable(box: StandalonePartition) -> None:
    for vp in box.partition.processors:
        vp.current.apic.write_mmio(0xF0, 0x1FF)


def test_a_destination_that_nobody_has_is_empty(make_partition: MakePartition) -> None:
    partition = make_partition(2).partition
    assert destinations(partition, 0, 7, logical=False, x2apic=False) == []
    assert destinations(partition, 1, 0xFF, logical=False, x2apic=False) == []
    everyone = destinations(partition, 0, 0xFF, logical=False, x2apic=False)
    assert [apic.id for apic in everyone] == [0, 1]


def test_a_message_signalled_interrupt(make_partition: MakePartition) -> None:
    box = make_partition(2)
    enable(box)
    send_message_signalled(box.partition, 0xFEE01000, 0x45)
    assert box.partition.by_apic_id[1].pending_vector() == 0x45
    send_message_signalled(box.partition, 0xFED01000, 0x55)
    assert box.partition.by_apic_id[1].pending_vector() == 0x45


def test_smi_and_reserved_modes_do_nothing(make_partition: MakePartition) -> None:
    box = make_partition(1)
    enable(box)
    box.effects.clear()
    apic = box.partition.bootstrap.current.apic
    for mode in (DeliveryMode.SMI, 3):
        deliver(box.partition, [apic], mode, 0x40)
    deliver(box.partition, [], DeliveryMode.LOWEST_PRIORITY, 0x40)
    assert box.effects.effects == []
    assert apic.irr == 0
