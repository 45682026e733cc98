from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.partition.apics import one_apic

from hypercall.partition.local_apic import LocalApic
from hypercall.partition.standalone import StandalonePartition

MakePartition = Callable[..., StandalonePartition]

TPR, SVR = 0x80, 0xF0


def test_a_software_disabled_apic_drops_fixed_interrupts(make_partition: MakePartition) -> None:
    box = make_partition(1)
    apic = box.partition.bootstrap.current.apic
    apic.request(0x40)
    assert apic.pending_vector() is None
    assert box.effects.named("interrupt_changed") == []
    apic.write_mmio(SVR, 0x1FF)
    apic.request(0x40)
    assert apic.pending_vector() == 0x40
    assert box.effects.named("interrupt_changed") == [(box.partition.bootstrap,)]


def test_priorities_nest_and_end_in_order() -> None:
    _, apic = one_apic()
    apic.request(0x40)
    assert apic.acknowledge() == 0x40
    apic.request(0x45)
    assert apic.pending_vector() is None, "the same priority class does not interrupt"
    apic.request(0x51)
    assert apic.acknowledge() == 0x51
    assert apic.read_mmio(0xA0) == 0x50
    apic.eoi()
    assert apic.pending_vector() is None
    apic.eoi()
    assert apic.acknowledge() == 0x45
    apic.eoi()
    assert apic.isr == 0
    with pytest.raises(ValueError, match="no interrupt"):
        apic.acknowledge()


def test_the_task_priority_holds_interrupts_back_until_it_falls() -> None:
    box, apic = one_apic()
    apic.write_mmio(TPR, 0x50)
    apic.request(0x5F)
    assert apic.pending_vector() is None
    box.effects.clear()
    apic.write_mmio(TPR, 0x4F)
    assert apic.pending_vector() == 0x5F
    assert len(box.effects.named("interrupt_changed")) == 1


def test_requests_of_one_vector_merge() -> None:
    _, apic = one_apic()
    apic.request(0x40)
    apic.request(0x40)
    apic.acknowledge()
    apic.request(0x40)
    apic.eoi()
    assert apic.acknowledge() == 0x40
    apic.eoi()
    assert apic.pending_vector() is None


@given(st.lists(st.tuples(st.sampled_from("rae"), st.integers(0x10, 0xFF)), max_size=80))
def test_delivery_follows_the_priority_rules(steps: list[tuple[str, int]]) -> None:
    """A model with plain sets: the highest request above the highest in service is taken."""
    _, apic = one_apic()
    requested: set[int] = set()
    in_service: list[int] = []
    for action, vector in steps:
        if action == "r":
            apic.request(vector)
            requested.add(vector)
        elif action == "e":
            apic.eoi()
            if in_service:
                in_service.remove(max(in_service))
        highest = max(requested, default=0)
        takeable = highest if highest >> 4 > max(in_service, default=0) >> 4 else None
        assert apic.pending_vector() == (takeable or None)
        if action == "a" and takeable:
            assert apic.acknowledge() == takeable
            requested.remove(takeable)
            in_service.append(takeable)


class TestEoiAssist:
    def box(self) -> tuple[StandalonePartition, LocalApic, memoryview]:
        box, apic = one_apic()
        apic.owner.assist_page.write(0x5001)
        view = apic.owner.assist_page.view
        assert view is not None
        return box, apic, view

    def test_the_guest_need_not_write_eoi_for_the_only_interrupt(self) -> None:
        _, apic, view = self.box()
        apic.request(0x40)
        apic.acknowledge()
        assert view[0] == 1
        view[0] = 0
        apic.request(0x41)
        assert apic.acknowledge() == 0x41, "the cleared bit has ended 0x40"
        assert apic.isr == 1 << 0x41

    def test_what_is_in_service_is_told_without_settling_it(self) -> None:
        _, apic, view = self.box()
        apic.request(0x40)
        apic.acknowledge()
        assert apic.in_service() == 1 << 0x40
        view[0] = 0
        assert apic.in_service() == 0
        assert apic.isr == 1 << 0x40

    def test_a_lower_interrupt_takes_the_offer_back(self) -> None:
        _, apic, view = self.box()
        apic.request(0x60)
        apic.acknowledge()
        apic.request(0x50)
        assert view[0] == 0
        assert apic.pending_vector() is None
        apic.eoi()
        assert apic.acknowledge() == 0x50
        assert view[0] == 1

    def test_an_explicit_eoi_still_ends_the_interrupt_once(self) -> None:
        _, apic, view = self.box()
        apic.request(0x60)
        apic.acknowledge()
        apic.eoi()
        assert (apic.isr, view[0]) == (0, 0)

    def test_a_nested_interrupt_is_ended_explicitly(self) -> None:
        _, apic, view = self.box()
        apic.request(0x40)
        apic.acknowledge()
        apic.request(0x70)
        assert apic.acknowledge() == 0x70
        assert view[0] == 0
        apic.eoi()
        apic.eoi()
        assert apic.isr == 0

    def test_a_level_interrupt_needs_its_eoi(self) -> None:
        _, apic, view = self.box()
        apic.request(0x40, level=True)
        apic.acknowledge()
        assert view[0] == 0

    def test_reset_takes_the_offer_back(self) -> None:
        _, apic, view = self.box()
        apic.request(0x40)
        apic.acknowledge()
        apic.reset()
        assert view[0] == 0
        assert apic.isr == 0
