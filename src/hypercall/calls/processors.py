"""Calls on virtual processors: spinning, starting, identity."""

import struct

from hypercall.abi.reply import RepReply
from hypercall.calls.registration import serves
from hypercall.calls.target_processor import initial_context
from hypercall.calls.target_vtl import plain_vtl_status
from hypercall.partition.virtual_processor import RunState, VirtualProcessor
from hypercall.tlfs.calls import Call
from hypercall.tlfs.identifiers import VP_INDEX_SELF
from hypercall.tlfs.readings import Enforcement
from hypercall.tlfs.status import HvStatus

_NEVER_NOTIFY = (0, 0xFFFFFFFF)


@serves(Call.NOTIFY_LONG_SPIN_WAIT)
def notify_long_spin_wait(vp: VirtualProcessor, spin_count: int) -> HvStatus:
    """End the caller's turn: it waits for a lock that another processor holds."""
    partition = vp.partition
    if (
        partition.readings.recommendations is Enforcement.GATE
        and partition.configuration.spin_retry_count in _NEVER_NOTIFY
    ):
        return HvStatus.ACCESS_DENIED
    partition.effects.yield_turn(vp)
    return HvStatus.SUCCESS


@serves(Call.START_VIRTUAL_PROCESSOR)
def start_virtual_processor(
    vp: VirtualProcessor,
    partition_id: int,
    vp_index: int,
    target_vtl: int,
    *context_fields: int | bytes,
) -> HvStatus:
    """Start a virtual processor in a VTL with the given registers.

    HV_VP_INDEX_SELF is not translated: a VP that makes the call runs already.
    """
    partition = vp.partition
    readings = partition.readings
    if not partition.is_own_id(partition_id):
        return HvStatus.INVALID_PARTITION_ID
    if vp_index == VP_INDEX_SELF:
        return readings.start_self
    target = partition.find_vp(vp_index)
    if target is None:
        return HvStatus.INVALID_VP_INDEX
    if target is vp:
        return readings.start_self
    status, vtl = plain_vtl_status(vp, target_vtl, above=readings.start_higher_vtl)
    if status:
        return status
    if partition.vsm.denies_startup(vp.active_vtl):
        return HvStatus.ACCESS_DENIED
    if not target.vtl_enabled(vtl):
        return HvStatus.INVALID_VP_STATE
    if target.run_state is RunState.RUNNING and readings.start_running is not None:
        return readings.start_running
    context = initial_context(partition, context_fields)
    if isinstance(context, HvStatus):
        return context
    target.start(vtl, context)
    return HvStatus.SUCCESS


@serves(Call.GET_VP_INDEX_FROM_APIC_ID)
def get_vp_index_from_apic_id(
    vp: VirtualProcessor, partition_id: int, target_vtl: int, elements: memoryview
) -> RepReply | HvStatus:
    """Give the VP index of each APIC id, whether the processor runs or not."""
    partition = vp.partition
    if not partition.is_own_id(partition_id):
        return HvStatus.INVALID_PARTITION_ID
    status, vtl = plain_vtl_status(vp, target_vtl)
    if status:
        return status
    indexes = []
    for apic_id in struct.unpack(f"<{len(elements) // 4}I", elements):
        target = partition.by_apic_id.get(apic_id)
        if target is None or not target.vtl_enabled(vtl):
            status = HvStatus.INVALID_PARAMETER
            break
        indexes.append(target.index)
    return RepReply(len(indexes), status, struct.pack(f"<{len(indexes)}I", *indexes))
