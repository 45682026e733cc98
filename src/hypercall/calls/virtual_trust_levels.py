"""Calls of Virtual Secure Mode: trust levels of the partition and of its processors."""

import struct

from hypercall.abi.reply import RepReply
from hypercall.calls.registration import serves
from hypercall.calls.target_processor import initial_context, target_processor
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.partition.vsm import PAGES_PER_PARTITION
from hypercall.partition.vtl_protections import given_permissions, valid_combination
from hypercall.tlfs.call_flags import DisableVtlFlags, EnablePartitionVtlFlags, MapGpaFlags
from hypercall.tlfs.calls import Call
from hypercall.tlfs.identifiers import input_vtl
from hypercall.tlfs.readings import ProtectionTarget, ReservedFields
from hypercall.tlfs.registers import PARTITION_CONFIG_ENABLE_VTL_PROTECTION
from hypercall.tlfs.status import HvStatus

_FAST_RETURN = 1
_USE_TARGET = 0x10
_KERNEL_EXECUTE = int(MapGpaFlags.KERNEL_EXECUTE)
_USER_EXECUTE = int(MapGpaFlags.USER_EXECUTE)
_PROTECTIONS = int(MapGpaFlags.READ | MapGpaFlags.WRITE) | _KERNEL_EXECUTE | _USER_EXECUTE


def _reserved_flags_refused(vp: VirtualProcessor, flags: int, defined: int) -> bool:
    refuse = vp.partition.readings.reserved_fields is ReservedFields.REFUSE
    return refuse and bool(flags & ~defined)


# --- the partition ---------------------------------------------------------------------------
# A member of an enumeration is found slowly through its class.
_DONE, _UNDEFINED = HvStatus.SUCCESS, HvStatus.INVALID_PARAMETER


@serves(Call.ENABLE_PARTITION_VTL)
def enable_partition_vtl(
    vp: VirtualProcessor, partition_id: int, target_vtl: int, flags: int
) -> HvStatus:
    """Enable a VTL for the partition; nothing runs in it yet.

    A VTL may enable any lower one, and a higher one if no other enabled VTL is between.
    """
    partition = vp.partition
    configuration = partition.configuration
    if not partition.is_own_id(partition_id):
        return HvStatus.INVALID_PARTITION_ID
    if not 0 < target_vtl < configuration.vtl_count:
        return partition.readings.partition_vtl_range
    if _reserved_flags_refused(vp, flags, EnablePartitionVtlFlags.defined_mask()):
        return HvStatus.INVALID_PARAMETER
    mbec = bool(flags & EnablePartitionVtlFlags.ENABLE_MBEC)
    absent = (
        EnablePartitionVtlFlags.ENABLE_SUPERVISOR_SHADOW_STACK
        | EnablePartitionVtlFlags.ENABLE_HARDWARE_HVPT
    )
    if flags & absent or (mbec and not configuration.mbec):
        return HvStatus.INVALID_PARAMETER
    if target_vtl in partition.vtls:
        return HvStatus.INVALID_VTL_STATE
    highest_below = max(vtl for vtl in partition.vtls if vtl < target_vtl)
    if vp.active_vtl < target_vtl and vp.active_vtl != highest_below:
        return HvStatus.ACCESS_DENIED
    if partition.memory.free_overlay_pages < PAGES_PER_PARTITION:
        return HvStatus.INSUFFICIENT_MEMORY
    partition.vsm.enable_partition_vtl(target_vtl, mbec=mbec)
    return HvStatus.SUCCESS


@serves(Call.DISABLE_PARTITION_VTL)
def disable_partition_vtl(
    vp: VirtualProcessor, partition_id: int, target_vtl: int, flags: int
) -> HvStatus:
    """Disable a VTL of the partition, or put it back to where it was when it was enabled."""
    partition = vp.partition
    if not partition.is_own_id(partition_id):
        return HvStatus.INVALID_PARTITION_ID
    if not 0 < target_vtl < partition.configuration.vtl_count:
        return HvStatus.INVALID_PARAMETER
    if _reserved_flags_refused(vp, flags, DisableVtlFlags.defined_mask()):
        return HvStatus.INVALID_PARAMETER
    if vp.active_vtl < target_vtl:
        return HvStatus.ACCESS_DENIED
    in_use = any(target_vtl in each.vtls for each in partition.processors)
    if target_vtl not in partition.vtls or in_use:
        return HvStatus.INVALID_VTL_STATE
    scrub_only = bool(flags & DisableVtlFlags.SCRUB_ONLY)
    partition.vsm.disable_partition_vtl(target_vtl, scrub_only=scrub_only)
    return HvStatus.SUCCESS


# --- its processors --------------------------------------------------------------------------


@serves(Call.ENABLE_VP_VTL)
def enable_vp_vtl(
    vp: VirtualProcessor,
    partition_id: int,
    vp_index: int,
    target_vtl: int,
    *context_fields: int | bytes,
) -> HvStatus:
    """Enable a VTL on a virtual processor, with the registers of its first entry."""
    target = target_processor(vp, partition_id, vp_index)
    if isinstance(target, HvStatus):
        return target
    partition = vp.partition
    if not 0 < target_vtl < partition.configuration.vtl_count:
        return HvStatus.INVALID_PARAMETER
    if target_vtl not in partition.vtls:
        return HvStatus.INVALID_VTL_STATE
    status = _may_enable(vp, target, target_vtl)
    if status:
        return status
    existing = target.vtls.get(target_vtl)
    if existing is not None and not existing.secure.scrubbed:
        return HvStatus.VTL_ALREADY_ENABLED
    context = initial_context(partition, context_fields)
    if isinstance(context, HvStatus):
        return context
    partition.vsm.enable_vp_vtl(target, target_vtl, context)
    return HvStatus.SUCCESS


def _may_enable(vp: VirtualProcessor, target: VirtualProcessor, target_vtl: int) -> HvStatus:
    """Check the caller's VTL (TLFS, HvCallEnableVpVtl).

    Only a higher VTL enables one, but the first time the highest one below it may. Once it is
    enabled on a processor, only itself and higher ones enable it on others.
    """
    caller = vp.active_vtl
    processors = vp.partition.processors
    if caller >= target_vtl:
        return HvStatus.SUCCESS
    if any(target_vtl in each.vtls for each in processors):
        return HvStatus.ACCESS_DENIED
    if caller != max(vtl for each in processors for vtl in each.vtls if vtl < target_vtl):
        return HvStatus.ACCESS_DENIED
    elsewhere = vp.partition.readings.first_vp_vtl_elsewhere
    return HvStatus.SUCCESS if elsewhere is None or target is vp else elsewhere


@serves(Call.DISABLE_VP_VTL)
def disable_vp_vtl(
    vp: VirtualProcessor, partition_id: int, vp_index: int, target_vtl: int, flags: int
) -> HvStatus:
    """Disable a VTL on a virtual processor, or put it back to its initial context."""
    target = target_processor(vp, partition_id, vp_index)
    if isinstance(target, HvStatus):
        return target
    partition = vp.partition
    if not 0 < target_vtl < partition.configuration.vtl_count:
        return HvStatus.INVALID_PARAMETER
    if _reserved_flags_refused(vp, flags, DisableVtlFlags.defined_mask()):
        return HvStatus.INVALID_PARAMETER
    if vp.active_vtl < target_vtl:
        return HvStatus.ACCESS_DENIED
    if target_vtl not in target.vtls or (target is vp and vp.active_vtl == target_vtl):
        return HvStatus.INVALID_VTL_STATE
    if target.active_vtl == target_vtl:
        return HvStatus.INVALID_VP_STATE
    scrub_only = bool(flags & DisableVtlFlags.SCRUB_ONLY)
    partition.vsm.disable_vp_vtl(target, target_vtl, scrub_only=scrub_only)
    return HvStatus.SUCCESS


# --- protections -----------------------------------------------------------------------------


@serves(Call.MODIFY_VTL_PROTECTION_MASK)
def modify_vtl_protection_mask(
    vp: VirtualProcessor, partition_id: int, map_flags: int, target_vtl: int, elements: memoryview
) -> RepReply | HvStatus:
    """Set what lower VTLs may do with pages; it holds for every processor on return."""
    partition = vp.partition
    if not partition.is_own_id(partition_id):
        return partition.readings.protection_other_partition
    status, setter = _setter(vp, target_vtl)
    if status:
        return status
    if _reserved_flags_refused(vp, map_flags, MapGpaFlags.defined_mask()):
        return HvStatus.INVALID_PARAMETER
    mbec = partition.vtls[setter].mbec
    readings = partition.readings
    mask = given_permissions(map_flags & _PROTECTIONS, readings.protection_execute_bits, mbec=mbec)
    ignored = not mbec and not readings.user_execute_without_mbec
    if ignored and not mask & _KERNEL_EXECUTE:
        mask &= ~_USER_EXECUTE
    others = map_flags & MapGpaFlags.defined_mask() & ~_PROTECTIONS
    if others or not valid_combination(mask, mbec=mbec):
        return HvStatus.INVALID_REGISTER_VALUE
    pages = struct.unpack(f"<{len(elements) // 8}Q", elements)
    completed = partition.vsm.protect(setter, pages, mask)
    failed = completed < len(pages)
    return RepReply(completed, HvStatus.INVALID_PARAMETER if failed else HvStatus.SUCCESS)


def _setter(vp: VirtualProcessor, target_vtl: int) -> tuple[HvStatus, int]:
    """Return the VTL whose protections are meant, or why there is none."""
    partition = vp.partition
    vtl = input_vtl(target_vtl, vp.active_vtl)
    if vtl is None or vtl >= partition.configuration.vtl_count:
        return HvStatus.INVALID_PARAMETER, 0
    if vtl > vp.active_vtl:
        return HvStatus.ACCESS_DENIED, 0
    restricted = partition.readings.protection_target_vtl is ProtectionTarget.RESTRICTED
    if restricted and target_vtl & _USE_TARGET and vtl < vp.active_vtl:
        vtl = vp.active_vtl
    if not vtl:
        return HvStatus.INVALID_PARAMETER, 0
    if vtl not in partition.vtls:
        return HvStatus.INVALID_VTL_STATE, 0
    enabled = PARTITION_CONFIG_ENABLE_VTL_PROTECTION.get(partition.vtls[vtl].config)
    if vtl == vp.active_vtl and not enabled:
        return HvStatus.ACCESS_DENIED, 0
    return HvStatus.SUCCESS, vtl


# --- switching -------------------------------------------------------------------------------


@serves(Call.VTL_CALL)
def vtl_call(vp: VirtualProcessor, control_input: int) -> HvStatus:
    """Decide whether a VTL call can be made; any status but SUCCESS means #UD."""
    if control_input or vp.next_higher_vtl() is None:
        return _UNDEFINED
    return _DONE


@serves(Call.VTL_RETURN)
def vtl_return(vp: VirtualProcessor, control_input: int) -> HvStatus:
    """Decide whether a VTL return can be made; any status but SUCCESS means #UD."""
    if control_input & ~_FAST_RETURN or not vp.active_vtl:
        return _UNDEFINED
    return _DONE
