"""The VTL that a call names, as HV_INPUT_VTL or as a plain number."""

from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.identifiers import input_vtl
from hypercall.tlfs.status import HvStatus


def input_vtl_status(
    vp: VirtualProcessor, value: int, *, above: HvStatus | None = HvStatus.ACCESS_DENIED
) -> tuple[HvStatus, int]:
    """Read an HV_INPUT_VTL byte (TLFS, HV_INPUT_VTL).

    Args:
        vp: the caller.
        value: the byte.
        above: what answers a VTL above the caller's; None where it may be meant.

    Returns:
        SUCCESS and the VTL, or why the byte is refused and 0: reserved bits and a VTL that cannot
        exist are INVALID_PARAMETER, one that the partition has not enabled INVALID_VTL_STATE.
    """
    vtl = input_vtl(value, vp.active_vtl)
    if vtl is None:
        return HvStatus.INVALID_PARAMETER, 0
    return plain_vtl_status(vp, vtl, above=above)


def plain_vtl_status(
    vp: VirtualProcessor, vtl: int, *, above: HvStatus | None = HvStatus.ACCESS_DENIED
) -> tuple[HvStatus, int]:
    """Check a VTL number (TLFS, HV_VTL); as `input_vtl_status`."""
    partition = vp.partition
    if vtl >= partition.configuration.vtl_count:
        return HvStatus.INVALID_PARAMETER, 0
    if vtl > vp.active_vtl and above is not None:
        return above, 0
    if vtl not in partition.vtls:
        return HvStatus.INVALID_VTL_STATE, 0
    return HvStatus.SUCCESS, vtl
