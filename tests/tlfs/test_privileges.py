import pytest

from hypercall.tlfs.privileges import Feature, Privilege, Recommendation


@pytest.mark.parametrize(
    ("privilege", "ebx_bit"),
    [
        (Privilege.POST_MESSAGES, 4),
        (Privilege.SIGNAL_EVENTS, 5),
        (Privilege.DEBUGGING, 11),
        (Privilege.ACCESS_VSM, 16),
        (Privilege.ACCESS_VP_REGISTERS, 17),
        (Privilege.ENABLE_EXTENDED_HYPERCALLS, 20),
        (Privilege.START_VIRTUAL_PROCESSOR, 21),
    ],
)
def test_bits_of_the_upper_half(privilege: Privilege, ebx_bit: int) -> None:
    assert int(privilege) >> 32 == 1 << ebx_bit


def test_bits_of_the_other_words() -> None:
    assert int(Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_OUTPUT) == 1 << 15
    assert int(Feature.DIRECT_SYNTHETIC_TIMERS) == 1 << 19
    assert int(Recommendation.SYNTHETIC_CLUSTER_IPI) == 1 << 10
    assert int(Privilege.ACCESS_PARTITION_REFERENCE_TSC) == 1 << 9
