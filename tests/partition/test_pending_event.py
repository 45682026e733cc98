import pytest
from tests.partition.secure import enable

from hypercall.partition.pending_event import read_pending_event, write_pending_event
from hypercall.partition.register_access import RegisterAccessError
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.status import HvStatus


def test_an_exception_for_a_vtl_that_waits() -> None:
    box = standalone_partition()
    vp = enable(box)
    box.partition.vsm.vtl_call(vp)
    event = 1 | 1 << 8 | 13 << 16 | 0x18 << 32
    write_pending_event(vp.vtls[0], event)
    assert box.effects.named("inject_exception") == [(vp, 0, 13, 0x18, 0)]
    assert read_pending_event(vp.vtls[0]) == event
    box.partition.vsm.vtl_return(vp, True)
    assert read_pending_event(vp.vtls[0]) == 0


def test_an_exception_without_an_error_code() -> None:
    box = standalone_partition()
    vp = box.partition.bootstrap
    write_pending_event(vp.vtls[0], 1 | 1 << 16 | 7 << 32 | 0x4000 << 64)
    assert box.effects.named("inject_exception") == [(vp, 0, 1, None, 0x4000)]
    assert read_pending_event(vp.vtls[0]) == 0, "it is raised at once"


def test_an_event_that_is_taken_back() -> None:
    box = standalone_partition()
    vp = enable(box)
    write_pending_event(vp.vtls[1], 1 | 6 << 16)
    write_pending_event(vp.vtls[1], 0)
    assert read_pending_event(vp.vtls[1]) == 0


@pytest.mark.parametrize("event", [1 | 32 << 16, 1 | 1 << 1 | 3 << 16, 1 | 0xFFFF << 16])
def test_events_that_are_no_exceptions(event: int) -> None:
    box = standalone_partition()
    with pytest.raises(RegisterAccessError) as caught:
        write_pending_event(box.partition.bootstrap.vtls[0], event)
    assert caught.value.status is HvStatus.INVALID_REGISTER_VALUE
    assert box.effects.effects == []
