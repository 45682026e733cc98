"""Calls of a nested hypervisor: flushes of second-level address spaces."""

from hypercall.abi.reply import RETRY, RepReply, Retry
from hypercall.calls.registration import serves
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import Call
from hypercall.tlfs.gpa_range import gpa_ranges
from hypercall.tlfs.privileges import NestedFeature
from hypercall.tlfs.readings import ReservedFields
from hypercall.tlfs.status import HvStatus

_FEATURES = NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS | NestedFeature.ENLIGHTENED_NPT_TLB


@serves(Call.FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE)
def flush_guest_physical_address_space(
    vp: VirtualProcessor, address_space: int, flags: int
) -> HvStatus | Retry:
    """Flush all translations of a second-level address space on all processors."""
    status = _refusal(vp, address_space, flags)
    if status:
        return status
    if _must_wait(vp):
        return RETRY
    vp.partition.nested.flush_space(address_space)
    return HvStatus.SUCCESS


@serves(Call.FLUSH_GUEST_PHYSICAL_ADDRESS_LIST)
def flush_guest_physical_address_list(
    vp: VirtualProcessor, address_space: int, flags: int, elements: memoryview
) -> RepReply | HvStatus | Retry:
    """Flush ranges of a second-level address space on all processors."""
    status = _refusal(vp, address_space, flags)
    if status:
        return status
    if _must_wait(vp):
        return RETRY
    ranges: list[tuple[int, int]] = []
    for entry in gpa_ranges(elements):
        if entry is None:
            status = HvStatus.INVALID_PARAMETER
            break
        ranges.append((entry.first, entry.page_count))
    vp.partition.nested.flush_ranges(address_space, ranges)
    return RepReply(len(ranges), status)


def _must_wait(vp: VirtualProcessor) -> bool:
    """Return whether a higher VTL holds a processor's translations locked (TLFS, VSM, TLB lock)."""
    partition = vp.partition
    return len(partition.vtls) > 1 and partition.vsm.must_wait(
        vp, partition.virtual_processors, vp.active_vtl
    )


def _refusal(vp: VirtualProcessor, address_space: int, flags: int) -> HvStatus:
    partition = vp.partition
    if not int(partition.configuration.nested_features or 0) & _FEATURES:
        return partition.readings.nested_unsupported
    if flags and partition.readings.reserved_fields is ReservedFields.REFUSE:
        return HvStatus.INVALID_PARAMETER
    if address_space >> partition.memory.address_bits:
        return HvStatus.INVALID_PARAMETER
    return HvStatus.SUCCESS
