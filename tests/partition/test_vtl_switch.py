import struct
from collections.abc import Callable

import pytest
from tests.partition.secure import (
    CONTEXT_32,
    enable,
    with_apic,
    with_assist_page,
)

from hypercall.partition.run_state import RunState
from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.registers import RegisterName as R

MakePartition = Callable[..., StandalonePartition]
CALL, INTERRUPT = 1, 2


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    return make_partition()


def set_registers(box: StandalonePartition, vp: VirtualProcessor, vtl: int, **values: int) -> None:
    for name, value in values.items():
        box.effects.write_register(vp, vtl, R[name.upper()], value)


def register(box: StandalonePartition, vp: VirtualProcessor, name: R) -> int:
    return box.effects.read_register(vp, vp.active_vtl, name)


def test_a_call_enters_the_next_higher_vtl(box: StandalonePartition) -> None:
    vp = enable(box)
    view = with_assist_page(vp)
    assert box.partition.vsm.vtl_call(vp)
    assert vp.active_vtl == 1
    assert box.effects.named("switch_vtl") == [(vp, 0, 1)]
    assert view[8] == CALL
    assert vp.vtls[1].secure.entered


def test_a_call_does_not_skip_a_vtl(box: StandalonePartition) -> None:
    vp = enable(box, 2)
    enable(box, 1)
    assert box.partition.vsm.vtl_call(vp)
    assert vp.active_vtl == 1
    assert box.partition.vsm.vtl_call(vp)
    assert vp.active_vtl == 2
    assert not box.partition.vsm.vtl_call(vp)
    assert box.partition.vsm.vtl_return(vp, True)
    assert vp.active_vtl == 1


def test_vtls_need_not_be_consecutive(box: StandalonePartition) -> None:
    vp = enable(box, 2)
    assert box.partition.vsm.vtl_call(vp)
    assert vp.active_vtl == 2
    assert box.partition.vsm.vtl_return(vp, True)
    assert vp.active_vtl == 0
    assert not box.partition.vsm.vtl_return(vp, True)


def test_registers_are_kept_and_restored(box: StandalonePartition) -> None:
    vp = enable(box)
    view = with_assist_page(vp)
    set_registers(box, vp, 0, rax=0xAAAA_0000_1111, rcx=0xBBBB)
    box.partition.vsm.vtl_call(vp)
    assert struct.unpack_from("<QQ", view, 16) == (0xAAAA_0000_1111, 0xBBBB)
    set_registers(box, vp, 1, rax=1, rcx=2, rdx=3)
    box.partition.vsm.vtl_return(vp, False)
    assert register(box, vp, R.RAX) == 0xAAAA_0000_1111
    assert register(box, vp, R.RCX) == 0xBBBB
    assert register(box, vp, R.RDX) == 3


def test_a094_what_the_guest_stores_is_what_it_returns_with(box: StandalonePartition) -> None:
    vp = enable(box)
    view = with_assist_page(vp)
    box.partition.vsm.vtl_call(vp)
    struct.pack_into("<QQ", view, 16, 0x1234, 0x5678)
    box.partition.vsm.vtl_return(vp, False)
    assert (register(box, vp, R.RAX), register(box, vp, R.RCX)) == (0x1234, 0x5678)


def test_a_fast_return_restores_nothing(box: StandalonePartition) -> None:
    vp = enable(box)
    view = with_assist_page(vp)
    box.partition.vsm.vtl_call(vp)
    struct.pack_into("<QQ", view, 16, 0x1234, 0x5678)
    set_registers(box, vp, 1, rax=1, rcx=2)
    box.partition.vsm.vtl_return(vp, True)
    assert (register(box, vp, R.RAX), register(box, vp, R.RCX)) == (1, 2)


def test_three_registers_of_a_32_bit_vtl(box: StandalonePartition) -> None:
    vp = enable(box, context=CONTEXT_32)
    view = with_assist_page(vp)
    set_registers(box, vp, 0, rax=0x1_0000_0001, rcx=2, rdx=3)
    box.partition.vsm.vtl_call(vp)
    assert struct.unpack_from("<4I", view, 16) == (1, 2, 3, 0)
    struct.pack_into("<3I", view, 16, 7, 8, 9)
    box.partition.vsm.vtl_return(vp, False)
    found = [register(box, vp, name) for name in (R.RAX, R.RCX, R.RDX)]
    assert found == [7, 8, 9]


def test_b105_without_an_assist_page(box: StandalonePartition) -> None:
    vp = enable(box)
    box.partition.vsm.vtl_call(vp)
    set_registers(box, vp, 1, rax=1, rcx=2)
    assert box.partition.vsm.vtl_return(vp, False)
    assert (register(box, vp, R.RAX), register(box, vp, R.RCX)) == (1, 2)


def test_what_an_entry_stores_by_reading(make_partition: MakePartition) -> None:
    stored = {}
    for name in ("hyperv", "kvm", "xen", "openvmm"):
        box = make_partition(readings=ReadingSet.named(name))
        vp = enable(box)
        view = with_assist_page(vp)
        set_registers(box, vp, 0, rax=5, rcx=6)
        box.partition.vsm.vtl_call(vp)
        stored[name] = struct.unpack_from("<QQ", view, 16)
    assert stored == {"hyperv": (5, 6), "kvm": (5, 6), "xen": (5, 6), "openvmm": (0, 0)}


class TestInterrupts:
    def test_a105_an_interrupt_enters_at_once(self, box: StandalonePartition) -> None:
        vp = enable(box)
        view = with_assist_page(vp)
        with_apic(vp)
        assert vp.interrupting_vtl() is None
        vp.vtls[1].apic.request(0x40)
        assert vp.interrupting_vtl() == 1
        box.partition.vsm.interrupt_entry(vp, 1)
        assert (vp.active_vtl, view[8]) == (1, INTERRUPT)
        assert vp.pending_vector() == 0x40

    def test_the_task_priority_holds_it_back(self, box: StandalonePartition) -> None:
        vp = enable(box)
        with_apic(vp)
        vp.vtls[1].apic.write_task_priority(0x40)
        vp.vtls[1].apic.request(0x40)
        assert vp.interrupting_vtl() is None
        vp.vtls[1].apic.request(0x50)
        assert vp.interrupting_vtl() == 1

    def test_the_highest_first(self, box: StandalonePartition) -> None:
        vp = enable(box, 2)
        enable(box, 1)
        with_apic(vp)
        vp.vtls[1].apic.request(0xF0)
        vp.vtls[2].apic.request(0x20)
        assert vp.interrupting_vtl() == 2
        box.partition.vsm.interrupt_entry(vp, 2)
        assert vp.interrupting_vtl() is None

    def test_a106_a_lower_one_waits(self, box: StandalonePartition) -> None:
        vp = enable(box)
        with_apic(vp)
        box.partition.vsm.vtl_call(vp)
        vp.vtls[0].apic.request(0x40)
        assert vp.interrupting_vtl() is None
        assert vp.pending_vector() is None
        box.partition.vsm.vtl_return(vp, True)
        assert vp.pending_vector() == 0x40

    def test_b104_pending_at_the_return(self, box: StandalonePartition) -> None:
        vp = enable(box)
        with_apic(vp)
        box.partition.vsm.vtl_call(vp)
        vp.vtls[1].apic.request(0x40)
        box.partition.vsm.vtl_return(vp, True)
        assert vp.interrupting_vtl() == 1

    def test_a_non_maskable_one_enters_whatever_the_task_priority_is(
        self, box: StandalonePartition
    ) -> None:
        vp = enable(box)
        view = with_assist_page(vp)
        vp.vtls[1].apic.write_task_priority(0xF0)
        vp.nmi(1)
        assert vp.interrupting_vtl() == 1
        assert box.effects.named("nmi") == [(vp, 1)]
        box.partition.vsm.interrupt_entry(vp, 1)
        assert (vp.active_vtl, view[8]) == (1, INTERRUPT)
        vp.nmi(0)
        box.partition.vsm.vtl_return(vp, True)
        assert vp.interrupting_vtl() is None, "each was taken where it belongs"

    def test_a_processor_that_was_not_started(self, make_partition: MakePartition) -> None:
        box = make_partition()
        enable(box, count=2)
        vp = box.partition.by_index[1]
        with_apic(vp)
        assert vp.run_state is RunState.WAITING_FOR_START_UP
        vp.vtls[1].apic.request(0x40)
        assert (vp.active_vtl, vp.run_state) == (1, RunState.RUNNING)
        box.partition.vsm.vtl_return(vp, True)
        assert (vp.active_vtl, vp.run_state) == (0, RunState.WAITING_FOR_START_UP)


class TestReturnActions:
    def act(self, box: StandalonePartition, *actions: tuple[int, int, int, int, int]) -> memoryview:
        vp = enable(box)
        view = with_assist_page(vp)
        synic = vp.vtls[0].synic
        synic.write_control(1)
        synic.event_flags_page.write(0xB001)
        synic.write_sint(2, 0x32)
        box.partition.vsm.vtl_call(vp)
        for position, action in enumerate(actions):
            struct.pack_into("<QIBBH", view, 368 + 16 * position, *action)
        box.partition.vsm.vtl_return(vp, True)
        assert bytes(view[368:624]) == bytes(256), "they are taken away"
        assert synic.event_flags_page.view is not None
        return synic.event_flags_page.view

    def test_events_are_signaled(self, box: StandalonePartition) -> None:
        flags = self.act(box, (1, 0, 0, 2, 9), (1, 0, 0, 2, 2047))
        assert (flags[2 * 256 + 1], flags[2 * 256 + 255]) == (0b10, 0x80)

    def test_the_list_ends_at_an_unknown_one(self, box: StandalonePartition) -> None:
        flags = self.act(box, (1, 0, 0, 2, 1), (7, 0, 0, 2, 2), (1, 0, 0, 2, 3))
        assert flags[2 * 256] == 0b10

    @pytest.mark.parametrize(
        "action", [(1, 9, 0, 2, 1), (1, 0, 2, 2, 1), (1, 0, 0, 16, 1), (1, 0, 0, 2, 2048)]
    )
    def test_what_is_not_there_is_skipped(
        self, box: StandalonePartition, action: tuple[int, int, int, int, int]
    ) -> None:
        flags = self.act(box, action, (1, 0, 0, 2, 3))
        assert flags[2 * 256] == 0b1000
