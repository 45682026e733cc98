from collections.abc import Callable

import pytest
from tests.partition.secure import enable, with_apic

from hypercall.partition.configuration import DEFAULT_PRIVILEGES
from hypercall.partition.register_access import RegisterAccessError, RegisterWait
from hypercall.partition.standalone import StandalonePartition
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.registers import RegisterName as R
from hypercall.tlfs.status import HvStatus

MakePartition = Callable[..., StandalonePartition]
PARAMETER, DENIED = HvStatus.INVALID_PARAMETER, HvStatus.ACCESS_DENIED
BAD_VALUE = HvStatus.INVALID_REGISTER_VALUE
ZERO_ON_RESET, DENY_STARTUP = 1 << 5, 1 << 6
ALL_BITS = (1 << 64) - 1


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    return make_partition()


def read(box: StandalonePartition, name: int, vtl: int = 0) -> int:
    return box.partition.registers.read(box.partition.bootstrap.vtls[vtl], name)


def write(box: StandalonePartition, name: int, value: int, vtl: int = 1) -> None:
    box.partition.registers.write(box.partition.bootstrap.vtls[vtl], name, value)


def refused(box: StandalonePartition, name: int, value: int, vtl: int = 1) -> HvStatus:
    with pytest.raises(RegisterAccessError) as caught:
        write(box, name, value, vtl)
    return caught.value.status


def config(mask: int, flags: int = 0) -> int:
    return mask << 1 | flags


def test_where_the_switch_entries_of_the_page_are(box: StandalonePartition) -> None:
    assert read(box, R.VSM_CODE_PAGE_OFFSETS) == 0x0001B004
    box.effects.registers[0, 0, R.EFER] = 0x500
    assert read(box, R.VSM_CODE_PAGE_OFFSETS) == 0x0002600F


def test_status_of_partition_and_processor(box: StandalonePartition) -> None:
    assert read(box, R.VSM_PARTITION_STATUS) == 0x20001
    assert read(box, R.VSM_VP_STATUS) == 0x10000
    vp = enable(box, 1, mbec=True)
    box.partition.vsm.enable_partition_vtl(2, mbec=False)
    assert read(box, R.VSM_PARTITION_STATUS) == 1 << 21 | 0x20007
    assert read(box, R.VSM_VP_STATUS) == 0x30000
    write(box, R.VSM_VP_SECURE_CONFIG_VTL0, 1)
    assert read(box, R.VSM_VP_STATUS) == 0x30010
    box.partition.vsm.vtl_call(vp)
    assert read(box, R.VSM_VP_STATUS) == 0x30001


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, 1 << 17 | 0b110 << 1),
        ({"mbec": False}, 1 << 17),
        ({"dr6_shared": True, "vtl_count": 2}, 1 << 17 | 0b10 << 1 | 1),
    ],
)
def test_capabilities(
    make_partition: MakePartition, changes: dict[str, object], value: int
) -> None:
    assert read(make_partition(**changes), R.VSM_CAPABILITIES) == value


@pytest.mark.parametrize(
    "name",
    [R.VSM_CODE_PAGE_OFFSETS, R.VSM_VP_STATUS, R.VSM_PARTITION_STATUS, R.VSM_CAPABILITIES],
)
def test_what_cannot_be_written(box: StandalonePartition, name: int) -> None:
    assert refused(box, name, 0, vtl=0) is PARAMETER


def test_without_the_privilege(make_partition: MakePartition) -> None:
    privileges = Privilege(DEFAULT_PRIVILEGES & ~Privilege.ACCESS_VSM)
    box = make_partition(privileges=privileges)
    assert refused(box, R.VSM_VINA, 0, vtl=0) is DENIED
    with pytest.raises(RegisterAccessError) as caught:
        read(box, R.VSM_CAPABILITIES)
    assert caught.value.status is DENIED


class TestPartitionConfig:
    def test_at_first(self, box: StandalonePartition) -> None:
        enable(box)
        assert read(box, R.VSM_PARTITION_CONFIG, 1) == config(0xF, ZERO_ON_RESET)

    def test_a109_protections_once_enabled(self, box: StandalonePartition) -> None:
        enable(box)
        box.effects.clear()
        write(box, R.VSM_PARTITION_CONFIG, config(0x3, 1))
        assert box.effects.named("protection_changed") == [(0, None)]
        assert int(box.partition.memory.resolve(5).permissions) == 3  # type: ignore[union-attr]
        assert refused(box, R.VSM_PARTITION_CONFIG, config(0, 1)) is BAD_VALUE
        assert refused(box, R.VSM_PARTITION_CONFIG, config(0xF, 1)) is BAD_VALUE
        assert refused(box, R.VSM_PARTITION_CONFIG, config(0x3)) is BAD_VALUE
        write(box, R.VSM_PARTITION_CONFIG, config(0x3, 1 | DENY_STARTUP))
        assert read(box, R.VSM_PARTITION_CONFIG, 1) == config(0x3, 1 | DENY_STARTUP)
        assert len(box.effects.named("protection_changed")) == 1

    @pytest.mark.parametrize("mask", [0, 1, 5, 0xD, 0x7, 0xB])
    def test_masks_that_it_cannot_have(self, box: StandalonePartition, mask: int) -> None:
        enable(box)
        assert refused(box, R.VSM_PARTITION_CONFIG, config(mask, 1)) is BAD_VALUE
        assert int(box.partition.memory.resolve(5).permissions) == 0xF  # type: ignore[union-attr]

    def test_user_execution_alone_with_mbec(self, box: StandalonePartition) -> None:
        enable(box, mbec=True)
        write(box, R.VSM_PARTITION_CONFIG, config(0xB, 1))
        assert refused(box, R.VSM_PARTITION_CONFIG, config(0x7, 1)) is BAD_VALUE

    def test_a_mask_without_protections_has_no_effect(self, box: StandalonePartition) -> None:
        enable(box)
        write(box, R.VSM_PARTITION_CONFIG, config(0x3))
        assert int(box.partition.memory.resolve(5).permissions) == 0xF  # type: ignore[union-attr]

    @pytest.mark.parametrize("bit", [7, 8, 9, 10, 63])
    def test_bits_that_are_not_there(self, box: StandalonePartition, bit: int) -> None:
        enable(box)
        assert refused(box, R.VSM_PARTITION_CONFIG, config(0xF, 1 << bit)) is BAD_VALUE

    def test_vtl_0_has_none(self, box: StandalonePartition) -> None:
        assert refused(box, R.VSM_PARTITION_CONFIG, config(0xF), vtl=0) is PARAMETER
        with pytest.raises(RegisterAccessError):
            read(box, R.VSM_PARTITION_CONFIG)


class TestSecureConfig:
    def test_one_for_each_lower_vtl(self, box: StandalonePartition) -> None:
        enable(box, 2)
        enable(box, 1)
        write(box, R.VSM_VP_SECURE_CONFIG_VTL1, 2, vtl=2)
        assert read(box, R.VSM_VP_SECURE_CONFIG_VTL1, 2) == 2
        assert read(box, R.VSM_VP_SECURE_CONFIG_VTL0, 2) == 0
        assert read(box, R.VSM_VP_SECURE_CONFIG_VTL0, 1) == 0
        for lower in (1, 2):
            name = R.VSM_VP_SECURE_CONFIG_VTL0 + lower
            assert refused(box, name, 0, vtl=1) is PARAMETER
        assert refused(box, R.VSM_VP_SECURE_CONFIG_VTL0, 0, vtl=0) is PARAMETER

    def test_a_vtl_that_the_processor_does_not_have(self, box: StandalonePartition) -> None:
        enable(box, 2)
        assert refused(box, R.VSM_VP_SECURE_CONFIG_VTL1, 0, vtl=2) is PARAMETER

    def test_mbec_has_to_be_enabled_for_the_partition(self, make_partition: MakePartition) -> None:
        box = make_partition()
        enable(box)
        assert refused(box, R.VSM_VP_SECURE_CONFIG_VTL0, 1) is BAD_VALUE
        box = make_partition()
        vp = enable(box, mbec=True)
        box.effects.clear()
        write(box, R.VSM_VP_SECURE_CONFIG_VTL0, 1)
        assert box.partition.vsm.mbec_enabled(vp, 0)
        assert not box.partition.vsm.mbec_enabled(vp, 1)
        assert box.effects.named("protection_changed") == [(0, None)]

    def test_bits_that_are_not_there(self, box: StandalonePartition) -> None:
        enable(box)
        assert refused(box, R.VSM_VP_SECURE_CONFIG_VTL0, 4) is BAD_VALUE


class TestVina:
    def test_it_reads_back(self, box: StandalonePartition) -> None:
        enable(box)
        write(box, R.VSM_VINA, 0x740)
        assert read(box, R.VSM_VINA, 1) == 0x740

    @pytest.mark.parametrize("value", [1 << 8 | 0xF, 1 << 11, 1 << 63])
    def test_values_that_it_cannot_have(self, box: StandalonePartition, value: int) -> None:
        enable(box)
        assert refused(box, R.VSM_VINA, value) is BAD_VALUE

    def test_vtl_0_has_none(self, box: StandalonePartition) -> None:
        assert refused(box, R.VSM_VINA, 0, vtl=0) is PARAMETER
        with pytest.raises(RegisterAccessError):
            read(box, R.VSM_VINA)


class TestIntercepts:
    def test_what_they_are_at_first(self, box: StandalonePartition) -> None:
        enable(box)
        assert read(box, R.CR_INTERCEPT_CONTROL, 1) == 0
        for name in (
            R.CR_INTERCEPT_CR0_MASK,
            R.CR_INTERCEPT_CR4_MASK,
            R.CR_INTERCEPT_IA32_MISC_ENABLE_MASK,
        ):
            assert read(box, name, 1) == ALL_BITS
            write(box, name, 0x10)
            assert read(box, name, 1) == 0x10

    def test_reserved_bits(self, box: StandalonePartition) -> None:
        enable(box)
        write(box, R.CR_INTERCEPT_CONTROL, (1 << 25) - 1)
        assert refused(box, R.CR_INTERCEPT_CONTROL, 1 << 25) is BAD_VALUE

    def test_vtl_0_has_none(self, box: StandalonePartition) -> None:
        assert refused(box, R.CR_INTERCEPT_CONTROL, 0, vtl=0) is DENIED

    def test_two_vtls_intercept(self, box: StandalonePartition) -> None:
        vp = enable(box, 2)
        enable(box, 1)
        write(box, R.CR_INTERCEPT_CONTROL, 1, vtl=1)
        write(box, R.CR_INTERCEPT_CONTROL, 2, vtl=2)
        assert [vp.vtls[vtl].intercepted for vtl in (0, 1, 2)] == [3, 2, 0]
        box.partition.vsm.disable_vp_vtl(vp, 1, scrub_only=False)
        assert vp.vtls[0].intercepted == 2


class TestWaitForTlbLock:
    def test_nobody_holds_one(self, box: StandalonePartition) -> None:
        enable(box)
        write(box, R.VSM_VP_WAIT_FOR_TLB_LOCK, 1)
        assert read(box, R.VSM_VP_WAIT_FOR_TLB_LOCK, 1) == 0
        assert refused(box, R.VSM_VP_WAIT_FOR_TLB_LOCK, 2) is BAD_VALUE

    def test_another_processor_holds_one(self, box: StandalonePartition) -> None:
        vp = enable(box, count=2)
        other = box.partition.by_index[1]
        with_apic(vp)
        write(box, R.VSM_VP_SECURE_CONFIG_VTL0, 2)
        write(box, R.VSM_VP_WAIT_FOR_TLB_LOCK, 1)  # its own does not count
        box.partition.registers.write(other.vtls[1], R.VSM_VP_SECURE_CONFIG_VTL0, 2)
        with pytest.raises(RegisterWait):
            write(box, R.VSM_VP_WAIT_FOR_TLB_LOCK, 1)
        assert box.effects.named("suspend") == [(vp,)]
        box.partition.registers.write(other.vtls[1], R.VSM_VP_SECURE_CONFIG_VTL0, 0)
        assert box.effects.named("resume") == [(vp,)]
        write(box, R.VSM_VP_WAIT_FOR_TLB_LOCK, 1)
