"""Calls that send interrupts."""

from hypercall.calls.processor_sets import read_set
from hypercall.calls.registration import serves
from hypercall.calls.target_vtl import input_vtl_status
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import Call
from hypercall.tlfs.readings import IpiTargetVtl
from hypercall.tlfs.status import HvStatus

_FIRST_VECTOR = 0x10
_LAST_VECTOR = 0xFF


@serves(Call.SEND_SYNTHETIC_CLUSTER_IPI)
def send_synthetic_cluster_ipi(
    vp: VirtualProcessor, vector: int, target_vtl: int, processor_mask: int
) -> HvStatus:
    """Request a fixed, edge-triggered interrupt on a mask of processors."""
    return _send(vp, vector, target_vtl, processor_mask)


@serves(Call.SEND_SYNTHETIC_CLUSTER_IPI_EX)
def send_synthetic_cluster_ipi_ex(
    vp: VirtualProcessor,
    vector: int,
    target_vtl: int,
    format: int,
    valid_banks_mask: int,
    banks: memoryview,
) -> HvStatus:
    """Request a fixed, edge-triggered interrupt on a set of processors."""
    partition = vp.partition
    readings = partition.readings
    status, mask = read_set(readings, partition.vp_mask, format, valid_banks_mask, banks)
    if status:
        return status
    if not mask and readings.empty_set_ipi_before_vector:
        return HvStatus.SUCCESS
    return _send(vp, vector, target_vtl, mask)


def _send(vp: VirtualProcessor, vector: int, target_vtl: int, mask: int) -> HvStatus:
    partition = vp.partition
    if not _FIRST_VECTOR <= vector <= _LAST_VECTOR:
        return partition.readings.invalid_vector
    vtl = vp.active_vtl
    if target_vtl:
        readings = partition.readings
        if readings.ipi_target_vtl is IpiTargetVtl.REFUSED:
            return HvStatus.INVALID_PARAMETER
        if readings.ipi_target_vtl is IpiTargetVtl.HONOURED:
            above = readings.ipi_to_higher_vtl
            status, vtl = input_vtl_status(vp, target_vtl, above=above)
            if status:
                return status
    for target in partition.vps_in(mask):
        state = target.vtls.get(vtl)
        if state is not None:
            state.apic.request(vector)
    return HvStatus.SUCCESS
