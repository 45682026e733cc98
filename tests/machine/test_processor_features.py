import pytest

from hypercall.machine.processor_features import ProcessorFeatures
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order


def features(count: int = 2, *, x2apic: bool = False) -> ProcessorFeatures:
    return ProcessorFeatures(
        PartitionConfiguration(processors=processors_in_order(count), x2apic=x2apic)
    )


@pytest.mark.parametrize("x2apic", [False, True])
def test_x2apic(x2apic: bool) -> None:
    _, _, ecx, _ = features(x2apic=x2apic).read(0, 1, 0)
    assert bool(ecx >> 21 & 1) == x2apic


@pytest.mark.parametrize("enabled", [False, True])
def test_an_apic_that_is_disabled_is_not_there(enabled: bool) -> None:
    _, _, _, edx = features().read(0, 1, 0, apic_enabled=enabled)
    assert bool(edx >> 9 & 1) == enabled


@pytest.mark.parametrize(("count", "shared"), [(1, 0), (2, 1), (64, 1)])
def test_ids(count: int, shared: int) -> None:
    _, ebx, _, edx = features(count).read(count - 1, 1, 0)
    assert ebx >> 24 == count - 1
    assert ebx >> 16 & 0xFF == count
    assert edx >> 28 & 1 == shared


@pytest.mark.parametrize(("count", "shift"), [(1, 0), (2, 1), (3, 2), (4, 2), (64, 6)])
def test_topology(count: int, shift: int) -> None:
    eax, ebx, ecx, edx = features(count).read(1, 0xB, 1)
    assert (eax, ebx, ecx >> 8, edx) == (shift, count, 2, 1)


def test_a_leaf_that_is_not_there() -> None:
    assert features().read(0, 0x15, 0) == (0, 0, 0, 0)
