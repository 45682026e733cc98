"""Calls that send or retarget interrupts."""

from hypercall.calls.processor_sets import read_set
from hypercall.calls.registration import serves
from hypercall.calls.target_vtl import input_vtl_status
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.call_flags import InterruptSource, InterruptTargetFlags, VpSetFormat
from hypercall.tlfs.calls import Call
from hypercall.tlfs.readings import IpiTargetVtl, ReservedFields
from hypercall.tlfs.status import HvStatus

_FIRST_VECTOR = 0x10
_LAST_VECTOR = 0xFF
_TARGET_FLAGS = InterruptTargetFlags.defined_mask()


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


@serves(Call.RETARGET_DEVICE_INTERRUPT)
def retarget_device_interrupt(
    vp: VirtualProcessor,
    partition_id: int,
    device_id: int,
    interrupt_source: int,
    message_address: int,
    message_data: int,
    vector: int,
    target_flags: int,
    processor_mask_or_format: int,
    valid_banks_mask_and_banks: memoryview,
) -> HvStatus:
    """Let an interrupt of a device go to other processors, with another vector."""
    partition = vp.partition
    if not partition.is_own_id(partition_id):
        return HvStatus.INVALID_PARTITION_ID
    if (
        target_flags & ~_TARGET_FLAGS
        and partition.readings.reserved_fields is ReservedFields.REFUSE
    ):
        return HvStatus.INVALID_PARAMETER
    mask = processor_mask_or_format
    if target_flags & InterruptTargetFlags.PROCESSOR_SET:
        status, mask = _read_target_set(vp, processor_mask_or_format, valid_banks_mask_and_banks)
        if status:
            return status
    targets = partition.vps_in(mask)
    if (
        interrupt_source != InterruptSource.MSI
        or not _FIRST_VECTOR <= vector <= _LAST_VECTOR
        or len(targets) != mask.bit_count()
    ):
        return HvStatus.INVALID_PARAMETER
    return partition.device_interrupts.retarget(
        device_id,
        message_address,
        vector,
        targets,
        multicast=bool(target_flags & InterruptTargetFlags.MULTICAST),
        vtl=vp.active_vtl,
    )


def _read_target_set(vp: VirtualProcessor, format: int, words: memoryview) -> tuple[HvStatus, int]:
    """Read the set of an interrupt's targets, whose banks' mask is in the variable header."""
    partition = vp.partition
    if format == VpSetFormat.SPARSE_4K and not words:
        return HvStatus.INVALID_PARAMETER, 0
    valid_banks_mask = int.from_bytes(words[:8], "little")
    return read_set(partition.readings, partition.vp_mask, format, valid_banks_mask, words[8:])


def _send(vp: VirtualProcessor, vector: int, target_vtl: int, mask: int) -> HvStatus:
    partition = vp.partition
    if not _FIRST_VECTOR <= vector <= _LAST_VECTOR:
        return partition.readings.invalid_vector
    vtl = vp.active_vtl
    readings = partition.readings
    if target_vtl:
        if readings.ipi_target_vtl is IpiTargetVtl.REFUSED:
            return HvStatus.INVALID_PARAMETER
        if readings.ipi_target_vtl is IpiTargetVtl.HONOURED or len(partition.vtls) > 1:
            above = readings.ipi_to_higher_vtl
            status, vtl = input_vtl_status(vp, target_vtl, above=above)
            if status:
                return status
    if vtl and readings.ipi_above_vtl0 is not None:
        return readings.ipi_above_vtl0
    for target in partition.vps_in(mask):
        state = target.vtls.get(vtl)
        if state is not None:
            state.apic.request(vector)
    return HvStatus.SUCCESS
