from collections.abc import Callable

import pytest
from tests.partition.secure import CONTEXT_32, CONTEXT_64, enable, protect, with_messages

from hypercall.partition.run_state import RunState
from hypercall.partition.standalone import StandalonePartition
from hypercall.tlfs.registers import RegisterName as R

MakePartition = Callable[..., StandalonePartition]
G = 0x60


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    return make_partition()


def test_enabling(box: StandalonePartition) -> None:
    vp = enable(box)
    assert box.effects.named("vtl_enabled") == [(vp, 1, CONTEXT_64)]
    secure = vp.vtls[1].secure
    assert (secure.context, secure.long_mode, secure.entered) == (CONTEXT_64, True, False)
    assert vp.active_vtl == 0


def test_a_32_bit_vtl(box: StandalonePartition) -> None:
    assert not enable(box, context=CONTEXT_32).vtls[1].secure.long_mode


def test_what_is_private_to_a_vtl(box: StandalonePartition) -> None:
    vp = enable(box)
    partition = box.partition
    for vtl, state in vp.vtls.items():
        partition.msrs.write_in(state, 0x40000000, 0x100 + vtl)
        partition.msrs.write_in(state, 0x40000001, (0x10 + vtl) << 12 | 1)
        partition.msrs.write_in(state, 0x40000021, (0x20 + vtl) << 12 | 1)
        partition.msrs.write_in(state, 0x40000073, (0x30 + vtl) << 12 | 1)
        partition.msrs.write_in(state, 0x40000083, (0x40 + vtl) << 12 | 1)
        partition.msrs.write_in(state, 0x40000092, 0x50 + vtl)
        partition.msrs.write_in(state, 0x10, 1000 * vtl)
        state.apic.write_task_priority(0x10 * vtl)
    for vtl, state in vp.vtls.items():
        assert partition.msrs.read_in(state, 0x40000000) == 0x100 + vtl
        assert partition.msrs.read_in(state, 0x40000092) == 0x50 + vtl
        assert partition.msrs.read_in(state, 0x10) == 1000 * vtl
        assert state.apic.tpr == 0x10 * vtl
        pages = [base + vtl for base in (0x10, 0x20, 0x30, 0x40)]
        assert partition.memory.overlay_pages(vtl) == pages


def test_what_is_shared(box: StandalonePartition) -> None:
    vp = enable(box)
    box.time.nanoseconds = 12_345_600
    for index in (0x40000002, 0x40000010, 0x40000020, 0x40000022):
        values = {box.partition.msrs.read_in(state, index) for state in vp.vtls.values()}
        assert len(values) == 1


def test_disabling_takes_all_state(box: StandalonePartition) -> None:
    vp = enable(box)
    with_messages(vp)
    box.partition.registers.write(vp.vtls[1], R.CR_INTERCEPT_CONTROL, 1)
    vp.vtls[1].apic.request(0x40)
    timer = vp.vtls[1].timers[0]
    timer.write_count(1000)
    timer.write_config(1 | 2 << 16)
    box.partition.vsm.disable_vp_vtl(vp, 1, scrub_only=False)
    assert box.effects.named("vtl_disabled") == [(vp, 1)]
    assert vp.vtls.keys() == {0}
    assert vp.vtls[0].intercepted == 0
    assert vp.interrupting_vtl() is None
    assert box.partition.timers.next_deadline() is None
    assert box.partition.memory.overlay_pages(1) == []


def test_disabling_stops_the_apic_timer(box: StandalonePartition) -> None:
    vp = enable(box)
    apic = vp.vtls[1].apic
    apic.write_mmio(0xF0, 0x1FF)
    apic.write_mmio(0x320, 0x40)
    apic.write_mmio(0x380, 1000)
    assert box.partition.timers.next_deadline() is not None
    box.partition.vsm.disable_vp_vtl(vp, 1, scrub_only=False)
    assert box.partition.timers.next_deadline() is None


def test_disabling_lets_flushes_go_on(box: StandalonePartition) -> None:
    vp = enable(box, count=2)
    other = box.partition.by_index[1]
    box.partition.registers.write(other.vtls[1], R.VSM_VP_SECURE_CONFIG_VTL0, 2)
    assert box.partition.vsm.must_wait(vp, (other,), 0)
    box.partition.vsm.disable_vp_vtl(other, 1, scrub_only=False)
    assert box.effects.named("resume") == [(vp,)]
    assert not box.partition.vsm.must_wait(vp, (other,), 0)


def test_scrubbing_keeps_it_enabled(box: StandalonePartition) -> None:
    vp = enable(box)
    box.partition.vsm.vtl_call(vp)
    box.partition.vsm.vtl_return(vp, True)
    box.effects.clear()
    box.partition.vsm.disable_vp_vtl(vp, 1, scrub_only=True)
    secure = vp.vtls[1].secure
    assert (secure.context, secure.entered, secure.scrubbed) == (CONTEXT_64, False, True)
    assert box.effects.named("vtl_enabled") == [(vp, 1, CONTEXT_64)]
    box.partition.vsm.vtl_call(vp)
    assert not vp.vtls[1].secure.scrubbed, "it runs again: another context would be refused"


class TestReset:
    def test_only_vtl_0_is_left(self, box: StandalonePartition) -> None:
        vp = enable(box, count=2)
        protect(box, mask=3)
        box.partition.vsm.vtl_call(vp)
        box.effects.clear()
        box.partition.reset()
        assert box.partition.vtls.keys() == vp.vtls.keys() == {0}
        assert vp.active_vtl == 0
        assert len(box.effects.named("vtl_disabled")) == 2
        assert int(box.partition.memory.resolve(5).permissions) == 0xF  # type: ignore[union-attr]
        assert box.partition.by_index[1].run_state is RunState.WAITING_FOR_START_UP

    @pytest.mark.parametrize(("config", "kept"), [(0x3E, False), (0x1E, True)])
    def test_memory_becomes_zero(self, box: StandalonePartition, config: int, kept: bool) -> None:
        vp = enable(box)
        box.partition.registers.write(vp.vtls[1], R.VSM_PARTITION_CONFIG, config)
        box.partition.memory.write(0xFF000, b"secret")
        box.partition.reset()
        assert (box.partition.memory.read(0xFF000, 6) == b"secret") == kept

    def test_without_a_higher_vtl_memory_stays(self, box: StandalonePartition) -> None:
        box.partition.memory.write(0x5000, b"kept")
        box.partition.reset()
        assert box.partition.memory.read(0x5000, 4) == b"kept"


class TestStartUp:
    def test_init_and_start_up_are_dropped_beneath_a_higher_vtl(
        self, box: StandalonePartition
    ) -> None:
        enable(box, count=2)
        other = box.partition.by_index[1]
        box.effects.clear()
        for vtl in (0, 1):
            other.init(vtl)
            other.start_up(0x10, vtl)
        assert other.run_state is RunState.WAITING_FOR_START_UP
        assert box.effects.effects == []

    def test_they_are_dropped_where_startup_is_denied(self, box: StandalonePartition) -> None:
        vp = enable(box)
        other = box.partition.by_index[1]
        box.partition.registers.write(vp.vtls[1], R.VSM_PARTITION_CONFIG, 0x5E)
        other.start_up(0x10)
        assert box.effects.named("startup_processor") == []
        box.partition.registers.write(vp.vtls[1], R.VSM_PARTITION_CONFIG, 0x1E)
        other.start_up(0x10)
        assert box.effects.named("startup_processor") == [(other, 0x10)]
        assert other.run_state is RunState.RUNNING

    def test_a_start_does_not_take_a_processor_out_of_a_higher_vtl(
        self, box: StandalonePartition
    ) -> None:
        enable(box, count=2)
        other = box.partition.by_index[1]
        other.start(1, CONTEXT_64)
        other.start(0, CONTEXT_64)
        assert other.active_vtl == 1
        assert [arguments[:2] for arguments in box.effects.named("start_processor")] == [
            (other, 1),
            (other, 0),
        ]


def test_protections_of_pages(box: StandalonePartition) -> None:
    enable(box)
    box.effects.clear()
    assert box.partition.vsm.protect(1, [G, G + 1, 0xFFFFF, G + 2], 1) == 2
    assert box.effects.named("protection_changed") == [(0, (G, G + 1))]
    assert box.partition.vsm.protect(1, [0xFFFFF], 1) == 0
    assert len(box.effects.named("protection_changed")) == 1
