from collections.abc import Callable

import pytest

from hypercall.partition.register_access import RegisterAccessError
from hypercall.partition.registers import MSR_REGISTERS, PROCESSOR_REGISTERS
from hypercall.partition.standalone import StandalonePartition
from hypercall.tlfs.registers import RegisterName
from hypercall.tlfs.status import HvStatus

MakePartition = Callable[..., StandalonePartition]
R = RegisterName


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    return make_partition(2)


def read(box: StandalonePartition, name: int, vp: int = 0) -> int:
    state = box.partition.by_index[vp].current
    return box.partition.registers.read(state, name)


def write(box: StandalonePartition, name: int, value: int, vp: int = 0) -> None:
    box.partition.registers.write(box.partition.by_index[vp].current, name, value)


@pytest.mark.parametrize("name", sorted(PROCESSOR_REGISTERS))
def test_the_processors_registers_are_asked_of_the_processor(
    box: StandalonePartition, name: int
) -> None:
    value = 0x2 if name == R.RFLAGS else 0x10 if name == R.CR0 else 0x20
    if name in (R.EFER, R.PAT):
        value = 1
    write(box, name, value, vp=1)
    assert read(box, name, vp=1) == value
    assert read(box, name, vp=0) == 0


@pytest.mark.parametrize("name", sorted(MSR_REGISTERS))
def test_every_msr_register_can_be_read_or_is_refused_by_status(
    box: StandalonePartition, name: int
) -> None:
    if name == R.EOI:
        with pytest.raises(RegisterAccessError):
            read(box, name)
    else:
        msr = box.partition.msrs.read(box.partition.by_index[0], MSR_REGISTERS[name])
        assert read(box, name) == msr


def test_registers_and_msrs_are_one(box: StandalonePartition) -> None:
    write(box, R.VP_ASSIST_PAGE, 0x5001)
    assert box.partition.memory.overlay_pages() == [5]
    write(box, R.SINT3, 0x63)
    assert box.partition.by_index[0].current.synic.sints[3] == 0x63
    assert read(box, R.VP_INDEX, vp=1) == 1
    write(box, R.CR8, 5)
    assert read(box, R.TPR) == 0x50
    assert read(box, R.CR8) == 5
    assert read(box, R.INITIAL_APIC_ID, vp=1) == 1


def test_the_cpuid_registers(box: StandalonePartition) -> None:
    leaf = box.partition.hypervisor_leaves[0x40000003]
    value = read(box, R.PRIVILEGES_AND_FEATURES_INFO)
    assert value.to_bytes(16, "little") == b"".join(word.to_bytes(4, "little") for word in leaf)
    with pytest.raises(RegisterAccessError) as caught:
        write(box, R.PRIVILEGES_AND_FEATURES_INFO, 0)
    assert caught.value.status is HvStatus.INVALID_PARAMETER


@pytest.mark.parametrize("name", [0xDEAD, R.BNDCFGS, R.VSM_VINA])
def test_an_unknown_register_is_an_invalid_parameter(box: StandalonePartition, name: int) -> None:
    for access in (lambda: read(box, name), lambda: write(box, name, 0)):
        with pytest.raises(RegisterAccessError) as caught:
            access()
        assert caught.value.status is HvStatus.INVALID_PARAMETER


@pytest.mark.parametrize("name", [R.VP_INDEX, R.TIME_REF_COUNT, R.SVERSION, R.VP_RUNTIME])
def test_a_read_only_register_is_an_invalid_parameter(box: StandalonePartition, name: int) -> None:
    with pytest.raises(RegisterAccessError) as caught:
        write(box, name, 0)
    assert caught.value.status is HvStatus.INVALID_PARAMETER


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (R.RAX, 1 << 64),
        (R.CR0, 1 << 32),
        (R.CR3, 1 << 41),
        (R.CR4, 1 << 12),
        (R.CR8, 16),
        (R.EFER, 1 << 1),
        (R.RFLAGS, 0),
        (R.PAT, 2),
        (R.RIP, 1 << 47),
        (R.DR7, 1 << 33),
        (R.CS, 0xA19B << 112),
        (R.SINT0, 0x0F),
        (R.HYPERCALL, 1 << 50),
    ],
)
def test_a_value_that_the_register_cannot_have(
    box: StandalonePartition, name: int, value: int
) -> None:
    with pytest.raises(RegisterAccessError) as caught:
        write(box, name, value)
    assert caught.value.status is HvStatus.INVALID_REGISTER_VALUE
    assert box.effects.named("write_register") == []


def test_wide_registers_take_sixteen_bytes(box: StandalonePartition) -> None:
    write(box, R.XMM3, (1 << 128) - 1)
    assert read(box, R.XMM3) == (1 << 128) - 1
