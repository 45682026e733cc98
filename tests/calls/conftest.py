"""Partitions without a machine for the tests of this folder."""

from collections.abc import Callable

import pytest

from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.standalone import StandalonePartition, standalone_partition


@pytest.fixture
def make_partition() -> Callable[..., StandalonePartition]:
    def make(count: int = 2, **changes: object) -> StandalonePartition:
        configuration = PartitionConfiguration(
            processors=processors_in_order(count), memory_size=1 << 20
        )
        return standalone_partition(configuration.replace(**changes))

    return make
