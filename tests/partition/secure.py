"""Partitions with virtual trust levels for the tests of this folder."""

from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.initial_context import InitialVpContext
from hypercall.tlfs.registers import RegisterName as R

CONTEXT_64 = InitialVpContext(rip=0x100000, efer=0xD00)
CONTEXT_32 = InitialVpContext(rip=0x200000)
ASSIST_PAGE = 0x9000
MESSAGE_PAGE = 0xA000


def enable(
    box: StandalonePartition,
    vtl: int = 1,
    count: int = 1,
    context: InitialVpContext = CONTEXT_64,
    *,
    mbec: bool = False,
) -> VirtualProcessor:
    """Enable a VTL for the partition and on its first processors; return the first one."""
    partition = box.partition
    partition.vsm.enable_partition_vtl(vtl, mbec=mbec)
    for vp in partition.virtual_processors[:count]:
        partition.vsm.enable_vp_vtl(vp, vtl, context)
    return partition.bootstrap


def with_assist_page(vp: VirtualProcessor, vtl: int = 1) -> memoryview:
    """Enable the assist page of a VTL and return it."""
    state = vp.vtls[vtl]
    state.assist_page.write(ASSIST_PAGE | 1)
    assert state.assist_page.view is not None
    return state.assist_page.view


def with_apic(vp: VirtualProcessor) -> None:
    """Let the local APICs of all VTLs of a processor accept interrupts."""
    for state in vp.vtls.values():
        state.apic.write_mmio(0xF0, 0x1FF)


def with_messages(vp: VirtualProcessor, vtl: int = 1, vector: int = 0x30) -> memoryview:
    """Enable SynIC, SIM page and SINT0 of a VTL; return the message slot of SINT0."""
    with_apic(vp)
    synic = vp.vtls[vtl].synic
    synic.write_control(1)
    synic.write_message_page(MESSAGE_PAGE | 1)
    synic.write_sint(0, vector)
    assert synic.message_page.view is not None
    return synic.message_page.view[:256]


def protect(box: StandalonePartition, vtl: int = 1, mask: int = 0xF) -> None:
    """Enable the protections of a VTL with a default mask."""
    state = box.partition.bootstrap.vtls[vtl]
    box.partition.registers.write(state, R.VSM_PARTITION_CONFIG, 1 | mask << 1)
