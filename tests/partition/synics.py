"""SynICs that are set up as a guest would, and the interrupts that they raise."""

from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.virtual_processor import VirtualProcessorVtl


def enable_synic(state: VirtualProcessorVtl) -> None:
    """Enable the SynIC with its pages, and every SINT with a vector of its own from 0x60 on."""
    state.synic.write_control(1)
    state.synic.write_message_page(0x10000 + state.vp.index * 0x2000 | 1)
    state.synic.event_flags_page.write(0x11000 + state.vp.index * 0x2000 | 1)
    for sint in range(16):
        state.synic.write_sint(sint, 0x60 + sint)


def take(box: StandalonePartition) -> int | None:
    """Take and end the pending interrupt, as a handler would."""
    apic = box.partition.bootstrap.current.apic
    if apic.pending_vector() is None:
        return None
    vector = apic.acknowledge()
    apic.eoi()
    return vector
