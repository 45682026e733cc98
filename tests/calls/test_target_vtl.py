import pytest

from hypercall.calls.target_vtl import input_vtl_status, plain_vtl_status
from hypercall.partition.partition import VtlPartitionState
from hypercall.partition.standalone import standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.status import HvStatus

SUCCESS, PARAMETER = HvStatus.SUCCESS, HvStatus.INVALID_PARAMETER
DENIED, STATE = HvStatus.ACCESS_DENIED, HvStatus.INVALID_VTL_STATE


@pytest.fixture
def vp() -> VirtualProcessor:
    """A processor in VTL 2 of a partition that has enabled VTL 0 and 2."""
    partition = standalone_partition().partition
    partition.vtls[2] = VtlPartitionState(partition, 2)
    partition.bootstrap.active_vtl = 2
    return partition.bootstrap


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0x00, (SUCCESS, 2)),
        (0x01, (SUCCESS, 2)),
        (0x10, (SUCCESS, 0)),
        (0x11, (STATE, 0)),
        (0x12, (SUCCESS, 2)),
        (0x13, (PARAMETER, 0)),
        (0x1F, (PARAMETER, 0)),
        (0x20, (PARAMETER, 0)),
        (0x80, (PARAMETER, 0)),
    ],
)
def test_input_vtl(vp: VirtualProcessor, value: int, expected: tuple[HvStatus, int]) -> None:
    assert input_vtl_status(vp, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, (SUCCESS, 0)),
        (1, (DENIED, 0)),
        (2, (DENIED, 0)),
        (3, (PARAMETER, 0)),
        (16, (PARAMETER, 0)),
    ],
)
def test_a_plain_number_from_vtl_0(
    vp: VirtualProcessor, value: int, expected: tuple[HvStatus, int]
) -> None:
    vp.active_vtl = 0
    assert plain_vtl_status(vp, value) == expected


def test_what_answers_a_higher_vtl_is_the_callers_choice(vp: VirtualProcessor) -> None:
    vp.active_vtl = 0
    assert input_vtl_status(vp, 0x12, above=PARAMETER) == (PARAMETER, 0)
