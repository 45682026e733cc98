import pytest

from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.device_interrupts import DeviceInterrupts, InterruptEntry
from hypercall.partition.partition import Partition
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.status import HvStatus

DEVICE = 0x77


@pytest.fixture
def partition() -> Partition:
    made = standalone_partition(
        PartitionConfiguration(processors=processors_in_order(3), memory_size=1 << 20)
    ).partition
    made.device_interrupts.add_device(
        DEVICE, [InterruptEntry(0x40, False, (0,)), InterruptEntry(0x41, False, (0,))]
    )
    for vp in made.processors:
        vp.current.apic.write_mmio(0xF0, 0x1FF, 4)
    return made


def requested(partition: Partition) -> list[int | None]:
    return [vp.pending_vector() for vp in partition.virtual_processors]


def test_an_interrupt_goes_where_its_entry_says(partition: Partition) -> None:
    interrupts = partition.device_interrupts
    interrupts.signal(DEVICE, 1)
    assert requested(partition) == [0x41, None, None]
    interrupts.signal(DEVICE, 2)
    interrupts.signal(0x78, 0)
    assert requested(partition) == [0x41, None, None]


@pytest.mark.parametrize(
    ("multicast", "expected"), [(False, [None, 0x60, None]), (True, [None, 0x60, 0x60])]
)
def test_retarget(partition: Partition, multicast: bool, expected: list[int | None]) -> None:
    interrupts: DeviceInterrupts = partition.device_interrupts
    address, _ = interrupts.message(1)
    targets = partition.virtual_processors[1:]
    status = interrupts.retarget(DEVICE, address, 0x60, targets, multicast=multicast, vtl=0)
    assert status is HvStatus.SUCCESS
    interrupts.signal(DEVICE, 1)
    assert requested(partition) == expected
    interrupts.signal(DEVICE, 0)
    assert requested(partition)[0] == 0x40


def test_no_target_leaves_the_old_ones(partition: Partition) -> None:
    interrupts = partition.device_interrupts
    address, _ = interrupts.message(0)
    assert interrupts.retarget(DEVICE, address, 0x61, (), multicast=False, vtl=0) == 0
    interrupts.signal(DEVICE, 0)
    assert requested(partition) == [0x61, None, None]


def test_refusals(partition: Partition) -> None:
    interrupts = partition.device_interrupts
    address, _ = interrupts.message(0)

    def retarget(device: int, message: int) -> HvStatus:
        targets = partition.virtual_processors[1:]
        return interrupts.retarget(device, message, 0x61, targets, multicast=False, vtl=0)

    assert retarget(0x78, address) is HvStatus.INVALID_DEVICE_ID
    for wrong in (interrupts.message(2)[0], address | 1, 0xFED0_0000, 0):
        assert retarget(DEVICE, wrong) is HvStatus.INVALID_PARAMETER
    with pytest.raises(ValueError, match="two devices"):
        interrupts.add_device(DEVICE, [])
    assert interrupts.entry(DEVICE, 0) == InterruptEntry(0x40, False, (0,))


def test_a_vtl_that_a_processor_has_not_gets_nothing(partition: Partition) -> None:
    interrupts = partition.device_interrupts
    address, _ = interrupts.message(0)
    interrupts.retarget(DEVICE, address, 0x61, (), multicast=False, vtl=1)
    interrupts.signal(DEVICE, 0)
    assert requested(partition) == [None, None, None]
