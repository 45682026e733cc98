import dataclasses
from dataclasses import replace

import pytest
from tests.initial_contexts import LONG

from hypercall.calls.target_processor import initial_context, target_processor
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.standalone import standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.identifiers import PARTITION_ID_SELF, VP_INDEX_SELF
from hypercall.tlfs.initial_context import InitialVpContext
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.status import HvStatus


def caller(reading: str = "hyperv") -> VirtualProcessor:
    configuration = PartitionConfiguration(
        processors=processors_in_order(2),
        memory_size=1 << 20,
        readings=ReadingSet.named(reading),
    )
    return standalone_partition(configuration).partition.bootstrap


def fields(context: InitialVpContext) -> tuple[int | bytes, ...]:
    values = (getattr(context, each.name) for each in dataclasses.fields(context))
    return tuple(value if isinstance(value, int) else value.pack() for value in values)


@pytest.mark.parametrize(("vp_index", "found"), [(0, 0), (1, 1), (VP_INDEX_SELF, 0)])
def test_a_processor_by_its_index(vp_index: int, found: int) -> None:
    vp = caller()
    target = target_processor(vp, PARTITION_ID_SELF, vp_index)
    assert target is vp.partition.by_index[found]


def test_why_there_is_none() -> None:
    vp = caller()
    assert target_processor(vp, PARTITION_ID_SELF, 2) is HvStatus.INVALID_VP_INDEX
    # The partition is looked at first.
    assert target_processor(vp, 0x77, 2) is HvStatus.INVALID_PARTITION_ID


def test_the_registers_to_start_with() -> None:
    assert initial_context(caller().partition, fields(LONG)) == LONG
    bad = replace(LONG, cr0=1 << 40)
    assert initial_context(caller().partition, fields(bad)) is HvStatus.INVALID_REGISTER_VALUE
    assert initial_context(caller("kvm").partition, fields(bad)) == bad
