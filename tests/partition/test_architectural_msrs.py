import pytest

from hypercall.partition.architectural_msrs import ARCHITECTURAL_MSRS, read_tsc, refuse_write
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.standalone import standalone_partition


def test_the_tsc_wraps_at_64_bits() -> None:
    box = standalone_partition()
    state = box.partition.bootstrap.current
    ARCHITECTURAL_MSRS[0x10].write(state, (1 << 64) - 1)
    assert read_tsc(state) == (1 << 64) - 1
    box.advance(3)
    assert read_tsc(state) == 2


def test_a_register_that_keeps_its_value_keeps_it_per_vtl_and_vp() -> None:
    box = standalone_partition()
    state = box.partition.bootstrap.current
    accessors = ARCHITECTURAL_MSRS[0x1A0]
    assert accessors.read(state) == 1
    accessors.write(state, 0x850089)
    assert accessors.read(state) == 0x850089
    state.reset()
    assert accessors.read(state) == 1


def test_read_only() -> None:
    with pytest.raises(GeneralProtection):
        refuse_write(standalone_partition().partition.bootstrap.current, 0)


def test_no_machine_check_banks() -> None:
    state = standalone_partition().partition.bootstrap.current
    assert ARCHITECTURAL_MSRS[0x179].read(state) == 0
    with pytest.raises(GeneralProtection):
        ARCHITECTURAL_MSRS[0x179].write(state, 0)
    ARCHITECTURAL_MSRS[0x17A].write(state, 4)
    assert ARCHITECTURAL_MSRS[0x17A].read(state) == 4


def test_speculation_control_has_nothing_to_control() -> None:
    box = standalone_partition()
    msrs, vp = box.partition.msrs, box.partition.bootstrap
    msrs.write(vp, 0x48, 1)
    assert msrs.read(vp, 0x48) == 1
    msrs.write(vp, 0x49, 1)
    with pytest.raises(GeneralProtection):
        msrs.read(vp, 0x49)
    assert msrs.read(vp, 0x10A) & 1
    with pytest.raises(GeneralProtection):
        msrs.write(vp, 0x10A, 0)
