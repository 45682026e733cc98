from collections.abc import Callable

from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.virtual_processor import RunState, VirtualProcessorVtl
from hypercall.tlfs.initial_context import InitialVpContext

MakePartition = Callable[..., StandalonePartition]


def test_only_the_bootstrap_processor_runs_at_first(make_partition: MakePartition) -> None:
    first, second = make_partition(2).partition.processors
    assert first.run_state is RunState.RUNNING
    assert second.run_state is RunState.WAITING_FOR_START_UP


def test_start_up_needs_an_init_first(make_partition: MakePartition) -> None:
    box = make_partition(2)
    vp = box.partition.processors[1]
    vp.start_up(0x10)
    vp.start_up(0x11)
    assert box.effects.named("startup_processor") == [(vp, 0x10)]
    vp.init()
    assert vp.run_state is RunState.WAITING_FOR_START_UP
    vp.start_up(0x12)
    assert box.effects.named("startup_processor")[-1] == (vp, 0x12)


def test_a_higher_vtl_shields_the_processor_from_init(make_partition: MakePartition) -> None:
    box = make_partition(2)
    vp = box.partition.processors[1]
    vp.vtls[2] = VirtualProcessorVtl(vp, 2)
    assert vp.highest_vtl == 2
    assert vp.vtl_enabled(2)
    assert not vp.vtl_enabled(1)
    vp.init(0)
    vp.start_up(0x10, 0)
    assert box.effects.effects == []


def test_start_gives_the_context_to_the_processor(make_partition: MakePartition) -> None:
    box = make_partition(2)
    vp = box.partition.processors[1]
    vp.current.apic.write_mmio(0xF0, 0x1FF)
    context = InitialVpContext(rip=0x1000)
    vp.start(0, context)
    assert vp.run_state is RunState.RUNNING
    assert not vp.current.apic.software_enabled
    assert box.effects.named("start_processor") == [(vp, 0, context)]


def test_each_vtl_has_its_own_apic_synic_and_pages(make_partition: MakePartition) -> None:
    box = make_partition(1)
    vp = box.partition.bootstrap
    vp.vtls[1] = VirtualProcessorVtl(vp, 1)
    vp.vtls[1].apic.write_mmio(0xF0, 0x1FF)
    vp.vtls[1].apic.request(0x40)
    vp.vtls[1].assist_page.write(0x5001)
    assert vp.pending_vector() is None
    assert box.partition.memory.overlay_pages(0) == []
    assert box.partition.memory.overlay_pages(1) == [5]
    vp.active_vtl = 1
    assert vp.pending_vector() == 0x40
    assert vp.current is vp.vtls[1]
    box.partition.msrs.write(vp, 0x40000080, 1)
    assert vp.vtls[0].synic.control == 0
    vp.reset()
    assert list(vp.vtls) == [0]
    assert vp.active_vtl == 0
