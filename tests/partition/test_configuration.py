import pytest

from hypercall.errors import InputError
from hypercall.partition.configuration import (
    DEFAULT_EXTENDED_CAPABILITIES,
    DEFAULT_FEATURES,
    DEFAULT_PRIVILEGES,
    DEFAULT_RECOMMENDATIONS,
    PartitionConfiguration,
    ProcessorIdentity,
    processors_in_order,
)
from hypercall.tlfs.privileges import Recommendation


def test_what_the_default_partition_advertises() -> None:
    low, high = DEFAULT_PRIVILEGES & 0xFFFFFFFF, DEFAULT_PRIVILEGES >> 32
    assert low & 0xA7F == 0xA7F, "what Linux needs to use clock, SynIC, timers and hypercalls"
    assert high & (1 << 4 | 1 << 5 | 1 << 17 | 1 << 20 | 1 << 21)
    assert high & 1 << 11, "the debug calls"
    assert high & 1 << 16, "Virtual Secure Mode"
    assert DEFAULT_FEATURES & 1 << 28, "flushes of another VTL"
    assert DEFAULT_FEATURES & (1 << 1 | 1 << 11) == 1 << 1 | 1 << 11, "the debug channel"
    assert DEFAULT_FEATURES & (1 << 4 | 1 << 8 | 1 << 10 | 1 << 15 | 1 << 18 | 1 << 19)
    assert DEFAULT_EXTENDED_CAPABILITIES == 0b1_0001_0111
    assert DEFAULT_RECOMMENDATIONS == 1 << 2 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 10 | 1 << 11


def test_processors_in_order() -> None:
    assert processors_in_order(2) == (ProcessorIdentity(0, 0), ProcessorIdentity(1, 1))


def test_a_seed_shuffles_the_vp_indexes_repeatably() -> None:
    shuffled = processors_in_order(8, shuffle_vp_index=3)
    assert shuffled == processors_in_order(8, shuffle_vp_index=3)
    assert shuffled != processors_in_order(8, shuffle_vp_index=4)
    assert sorted(identity.index for identity in shuffled) == list(range(8))
    assert [identity.apic_id for identity in shuffled] == list(range(8))
    assert any(identity.index != identity.apic_id for identity in shuffled)


@pytest.mark.parametrize("count", [0, 65, -1])
def test_a_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(InputError, match="from 1 to 64"):
        processors_in_order(count)


def test_bad_configurations_are_refused() -> None:
    with pytest.raises(InputError, match="differ"):
        PartitionConfiguration(processors=(ProcessorIdentity(0, 0), ProcessorIdentity(0, 1)))
    with pytest.raises(InputError, match="differ"):
        PartitionConfiguration(processors=(ProcessorIdentity(0, 1), ProcessorIdentity(1, 1)))
    with pytest.raises(InputError, match="differ"):
        PartitionConfiguration(processors=())
    with pytest.raises(InputError, match="whole pages"):
        PartitionConfiguration(memory_size=4097)
    assert PartitionConfiguration().replace(memory_size=8192).memory_size == 8192


def test_an_x2apic_is_there_if_asked_for_or_recommended() -> None:
    assert not PartitionConfiguration().has_x2apic
    assert PartitionConfiguration(x2apic=True).has_x2apic
    assert PartitionConfiguration(recommendations=Recommendation.X2APIC_MSRS).has_x2apic
