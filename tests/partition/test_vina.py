from collections.abc import Callable

import pytest
from tests.partition.secure import enable, with_apic, with_assist_page

from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.registers import RegisterName as R

MakePartition = Callable[..., StandalonePartition]
VECTOR = 0x55
ENABLED, AUTO_RESET, AUTO_EOI = 1 << 8, 1 << 9, 1 << 10
INTERRUPTS_ENABLED = 0x202


def secure_processor(box: StandalonePartition, vina: int) -> VirtualProcessor:
    """A processor in VTL 1 whose VTL 0 could take interrupts."""
    vp = enable(box)
    with_assist_page(vp)
    with_apic(vp)
    box.partition.registers.write(vp.vtls[1], R.VSM_VINA, vina)
    box.effects.write_register(vp, 0, R.RFLAGS, INTERRUPTS_ENABLED)
    box.partition.vsm.vtl_call(vp)
    return vp


@pytest.fixture
def vp(make_partition: MakePartition) -> VirtualProcessor:
    return secure_processor(make_partition(), VECTOR | ENABLED)


def asserted(vp: VirtualProcessor) -> bool:
    view = vp.vtls[1].assist_page.view
    assert view is not None
    return bool(view[12] & 1)


def test_a_lower_interrupt_is_notified_once(vp: VirtualProcessor) -> None:
    vp.vtls[0].apic.request(0x40)
    assert vp.pending_vector() == VECTOR
    assert asserted(vp)
    vp.current.apic.acknowledge()
    vp.current.apic.eoi()
    vp.vtls[0].apic.request(0x50)
    assert vp.pending_vector() is None, "an end of interrupt does not clear the state"


def test_the_guest_asks_for_the_next_one(vp: VirtualProcessor) -> None:
    vp.vtls[0].apic.request(0x40)
    vp.current.apic.acknowledge()
    vp.current.apic.eoi()
    view = vp.vtls[1].assist_page.view
    assert view is not None
    view[12] = 0
    vp.vtls[0].apic.request(0x50)
    assert vp.pending_vector() == VECTOR


def test_interrupts_that_the_lower_vtl_could_not_take(vp: VirtualProcessor) -> None:
    vp.partition.effects.write_register(vp, 0, R.RFLAGS, 2)
    vp.vtls[0].apic.request(0x40)
    assert vp.pending_vector() is None
    vp.partition.effects.write_register(vp, 0, R.RFLAGS, INTERRUPTS_ENABLED)
    vp.vtls[0].apic.write_task_priority(0xF0)
    vp.vtls[0].apic.request(0x50)
    assert vp.pending_vector() is None


def test_a_non_maskable_interrupt_that_the_lower_vtl_takes_whatever_its_flags_are(
    vp: VirtualProcessor,
) -> None:
    vp.partition.effects.write_register(vp, 0, R.RFLAGS, 2)
    vp.nmi(0)
    assert vp.pending_vector() == VECTOR
    assert asserted(vp)
    vp.current.apic.acknowledge()
    vp.current.apic.eoi()
    vp.nmi(1)
    assert vp.pending_vector() is None, "one of its own is no notification"


def test_not_while_it_is_disabled(make_partition: MakePartition) -> None:
    box = make_partition()
    vp = secure_processor(box, VECTOR)
    vp.vtls[0].apic.request(0x40)
    assert vp.pending_vector() is None
    box.partition.registers.write(vp.vtls[1], R.VSM_VINA, VECTOR | ENABLED)
    assert vp.pending_vector() == VECTOR, "enabling it tells of what waits"


def test_without_an_assist_page(make_partition: MakePartition) -> None:
    vp = secure_processor(make_partition(), VECTOR | ENABLED)
    vp.vtls[1].assist_page.write(0)
    vp.vtls[0].apic.request(0x40)
    assert vp.vtls[1].secure.vina_asserted


def test_automatic_end(make_partition: MakePartition) -> None:
    vp = secure_processor(make_partition(), VECTOR | ENABLED | AUTO_EOI)
    vp.vtls[0].apic.request(0x40)
    assert vp.current.apic.acknowledge() == VECTOR
    assert vp.current.apic.isr == 0
    vp.current.synic.write_sint(3, 0x33)
    assert vp.current.synic.auto_eoi_vectors == 1 << VECTOR, "a write of a SINT keeps it"


def test_automatic_reset_by_reading(make_partition: MakePartition) -> None:
    found = {}
    for name in ("hyperv", "kvm", "xen", "openvmm"):
        box = make_partition(readings=ReadingSet.named(name))
        vp = secure_processor(box, VECTOR | ENABLED | AUTO_RESET)
        vp.vtls[0].apic.request(0x40)
        box.partition.vsm.vtl_return(vp, True)
        after_return = asserted(vp)
        vp.vtls[0].apic.acknowledge()
        box.partition.vsm.vtl_call(vp)
        found[name] = (after_return, asserted(vp))
    on_entry = (True, False)
    assert found == {
        "hyperv": on_entry,
        "kvm": on_entry,
        "xen": on_entry,
        "openvmm": (False, False),
    }
