import pytest

from hypercall.machine.devices.msi_test_device import (
    BASE,
    DEVICE_ID,
    FIRST_VECTOR,
    INTERRUPT_COUNT,
    MsiTestDevice,
)
from hypercall.partition.partition import Partition
from hypercall.partition.standalone import standalone_partition


@pytest.fixture
def partition() -> Partition:
    return standalone_partition().partition


@pytest.fixture
def device(partition: Partition) -> MsiTestDevice:
    partition.bootstrap.current.apic.write_mmio(0xF0, 0x1FF, 4)
    return MsiTestDevice(partition)


def test_the_registers_describe_the_chosen_interrupt(device: MsiTestDevice) -> None:
    assert device.read_port(BASE + 12, 4) == DEVICE_ID
    device.write_port(BASE, 4, 3)
    assert device.read_port(BASE, 4) == 3
    assert device.read_port(BASE + 4, 4) == 0xFEE0_000C
    assert device.read_port(BASE + 8, 4) == 0
    device.write_port(BASE, 4, INTERRUPT_COUNT)
    assert device.read_port(BASE, 4) == 0


def test_a_write_sends_the_interrupt(device: MsiTestDevice, partition: Partition) -> None:
    device.write_port(BASE, 4, 2)
    assert partition.bootstrap.pending_vector() is None
    device.write_port(BASE + 4, 4, 0)
    assert partition.bootstrap.pending_vector() == FIRST_VECTOR + 2


def test_odd_accesses_do_nothing(device: MsiTestDevice, partition: Partition) -> None:
    assert device.read_port(BASE + 12, 2) == 0
    assert device.read_port(BASE + 1, 4) == 0
    device.write_port(BASE + 4, 1, 0)
    device.write_port(BASE + 8, 4, 0)
    assert partition.bootstrap.pending_vector() is None
    assert list(device.ports) == [range(BASE, BASE + 16)]
