from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.errors import InputError
from hypercall.partition.configuration import PartitionConfiguration, ProcessorIdentity
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.tlfs.identifiers import PARTITION_ID_SELF, VP_INDEX_SELF
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.tlfs.privileges import Privilege

MakePartition = Callable[..., StandalonePartition]

SPARSE = (
    ProcessorIdentity(65, 3),
    ProcessorIdentity(2, 9),
    ProcessorIdentity(0, 1),
)


def sparse() -> StandalonePartition:
    return standalone_partition(PartitionConfiguration(processors=SPARSE, memory_size=1 << 20))


def test_index_apic_id_and_order_of_creation_are_independent() -> None:
    partition = sparse().partition
    assert [vp.index for vp in partition.processors] == [65, 2, 0]
    assert [vp.index for vp in partition.virtual_processors] == [0, 2, 65]
    assert partition.bootstrap.index == 65
    assert partition.by_apic_id[9].index == 2
    assert partition.find_vp(65) is partition.processors[0]
    assert partition.find_vp(1) is None
    assert partition.find_vp(VP_INDEX_SELF) is None
    assert partition.find_vp(VP_INDEX_SELF, partition.bootstrap) is partition.bootstrap


@given(st.integers(0, (1 << 70) - 1))
def test_a_mask_names_existing_processors_by_vp_index(mask: int) -> None:
    partition = PARTITION
    expected = [index for index in (0, 2, 65) if mask >> index & 1]
    assert [vp.index for vp in partition.vps_in(mask)] == expected


PARTITION = sparse().partition


def test_partition_ids() -> None:
    assert PARTITION.is_own_id(PARTITION_ID_SELF)
    assert PARTITION.is_own_id(PARTITION.configuration.partition_id)
    assert not PARTITION.is_own_id(42)


def test_hypercalls_are_enabled_by_os_id_and_page(make_partition: MakePartition) -> None:
    partition = make_partition(1).partition
    vp = partition.bootstrap
    assert not partition.hypercalls_enabled(0)
    partition.msrs.write(vp, 0x40000000, 1)
    assert not partition.hypercalls_enabled(0)
    partition.msrs.write(vp, 0x40000001, 0x1001)
    assert partition.hypercalls_enabled(0)


def test_the_cpuid_leaves_say_what_the_configuration_says() -> None:
    leaves = PARTITION.hypervisor_leaves
    configuration = PARTITION.configuration
    assert leaves[0x40000003][0] | leaves[0x40000003][1] << 32 == configuration.privileges
    assert leaves[0x40000003][3] == configuration.features
    assert leaves[0x40000004][:2] == (configuration.recommendations, 0xFFFFFFFF)
    assert leaves[0x40000004][2] == configuration.address_bits


def test_reset_makes_the_partition_new_and_keeps_ram(make_partition: MakePartition) -> None:
    box = make_partition(2)
    partition = box.partition
    vp = partition.bootstrap
    free = len(partition.memory._free_slots)
    partition.memory.write(0x8000, b"kept")
    for index, value in (
        (0x40000000, 1),
        (0x40000001, 0x1003),
        (0x40000021, 0x2001),
        (0x40000073, 0x3001),
        (0x40000080, 1),
        (0x40000082, 0x4001),
        (0x40000083, 0x5001),
        (0x400000B1, 500),
        (0x400000B0, 1 << 12 | 0x501),
        (0x40000100, 7),
    ):
        partition.msrs.write(vp, index, value)
    assert len(partition.memory._free_slots) == free - 5
    partition.reset()
    assert partition.memory.read(0x8000, 4) == b"kept"
    assert partition.memory.overlay_pages() == []
    assert len(partition.memory._free_slots) == free
    assert partition.timers.next_deadline() is None
    for index in (0x40000000, 0x40000001, 0x40000021, 0x40000073, 0x40000080, 0x40000100):
        assert partition.msrs.read(vp, index) == 0


def test_other_privileges_from_now_on() -> None:
    partition = standalone_partition().partition
    truth = partition.configuration
    less = truth.replace(privileges=truth.privileges & ~Privilege.ACCESS_VP_INDEX)
    assert partition.msrs.knows(SyntheticMsr.VP_INDEX)
    partition.change(less, truth)
    assert not partition.msrs.knows(SyntheticMsr.VP_INDEX)
    assert not partition.privileges & Privilege.ACCESS_VP_INDEX
    assert partition.hypervisor_leaves[0x40000003][0] & Privilege.ACCESS_VP_INDEX


def test_a_processor_by_its_index() -> None:
    partition = sparse().partition
    assert partition.vp(2) is partition.processors[1]
    with pytest.raises(InputError, match="no virtual processor 1: give an index below 3"):
        partition.vp(1)
