"""Calls on virtual address spaces: the switch to one and the flushes of translations."""

from hypercall.abi.reply import RETRY, Answer
from hypercall.calls.processor_sets import read_set
from hypercall.calls.registration import serves
from hypercall.partition.effects import TranslationFlush
from hypercall.partition.paging import loadable_cr3
from hypercall.partition.register_rules import valid_cr3
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.call_flags import FlushFlags
from hypercall.tlfs.calls import Call
from hypercall.tlfs.gva_range import ranges
from hypercall.tlfs.privileges import Feature
from hypercall.tlfs.readings import EmptyMask, ReservedFields
from hypercall.tlfs.status import HvStatus

# Plain numbers, for the flags are tested on every call.
_ALL_PROCESSORS = int(FlushFlags.ALL_PROCESSORS)
_ALL_SPACES = int(FlushFlags.ALL_VIRTUAL_ADDRESS_SPACES)
_NON_GLOBAL = int(FlushFlags.NON_GLOBAL_MAPPINGS_ONLY)
_EXTENDED = int(FlushFlags.USE_EXTENDED_RANGE_FORMAT)
_USE_TARGET_VTL = int(FlushFlags.USE_TARGET_VTL)
_TARGET_VTLS = int(FlushFlags.TARGET_VTL0 | FlushFlags.TARGET_VTL1)
_TARGET_VTL_SHIFT = 8
_CROSS_VTL = _USE_TARGET_VTL | _TARGET_VTLS
_COMMON = _ALL_PROCESSORS | _ALL_SPACES | _NON_GLOBAL


@serves(Call.SWITCH_VIRTUAL_ADDRESS_SPACE)
def switch_virtual_address_space(vp: VirtualProcessor, address_space: int) -> HvStatus:
    """Set the caller's CR3; unlike MOV CR3 it drops no translation."""
    if not loadable_cr3(vp, address_space):
        return HvStatus.INVALID_PARAMETER
    vp.partition.effects.set_address_space(vp, vp.active_vtl, address_space)
    return HvStatus.SUCCESS


@serves(Call.FLUSH_VIRTUAL_ADDRESS_SPACE)
def flush_virtual_address_space(
    vp: VirtualProcessor, address_space: int, flags: int, processor_mask: int
) -> Answer:
    """Flush all translations of an address space on a mask of processors."""
    return _flush_mask(vp, address_space, flags, processor_mask, None)


@serves(Call.FLUSH_VIRTUAL_ADDRESS_LIST)
def flush_virtual_address_list(
    vp: VirtualProcessor, address_space: int, flags: int, processor_mask: int, elements: memoryview
) -> Answer:
    """Flush ranges of an address space on a mask of processors."""
    return _flush_mask(vp, address_space, flags, processor_mask, elements)


@serves(Call.FLUSH_VIRTUAL_ADDRESS_SPACE_EX)
def flush_virtual_address_space_ex(
    vp: VirtualProcessor,
    address_space: int,
    flags: int,
    format: int,
    valid_banks_mask: int,
    banks: memoryview,
) -> Answer:
    """Flush all translations of an address space on a set of processors."""
    return _flush_set(vp, address_space, flags, format, valid_banks_mask, banks, None)


@serves(Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX)
def flush_virtual_address_list_ex(
    vp: VirtualProcessor,
    address_space: int,
    flags: int,
    format: int,
    valid_banks_mask: int,
    banks: memoryview,
    elements: memoryview,
) -> Answer:
    """Flush ranges of an address space on a set of processors."""
    return _flush_set(vp, address_space, flags, format, valid_banks_mask, banks, elements)


def _check(
    vp: VirtualProcessor, address_space: int, flags: int, *, is_list: bool
) -> tuple[HvStatus, int]:
    """Check flags and address space.

    Returns:
        SUCCESS and the flags without those that are to be ignored, or why the call is refused.
    """
    partition = vp.partition
    readings = partition.readings
    allowed = _COMMON
    if flags & ~_COMMON:
        features = partition.configuration.features
        if is_list and features & Feature.EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST:
            allowed |= _EXTENDED
        refuse = readings.reserved_fields is ReservedFields.REFUSE
        # Who ignores flags that it does not know does not know these either.
        if features & Feature.CROSS_VTL_FLUSH and refuse:
            allowed |= _CROSS_VTL
        if flags & ~allowed:
            if refuse:
                return HvStatus.INVALID_PARAMETER, 0
            flags &= allowed
        if flags & _CROSS_VTL:
            status = _check_target_vtls(vp, flags)
            if status:
                return status, 0
    if is_list and flags & _NON_GLOBAL and readings.non_global_list_flush is not None:
        return readings.non_global_list_flush, 0
    if (
        not flags & _ALL_SPACES
        and readings.flush_address_space is not None
        and not valid_cr3(address_space, partition.memory.address_bits)
    ):
        return readings.flush_address_space, 0
    return HvStatus.SUCCESS, flags


def _check_target_vtls(vp: VirtualProcessor, flags: int) -> HvStatus:
    """Check the flags that name VTLs: they go together, and none is above the caller's."""
    if not flags & _USE_TARGET_VTL or not flags & _TARGET_VTLS:
        return HvStatus.INVALID_PARAMETER
    highest = (flags & _TARGET_VTLS).bit_length() - 1 - _TARGET_VTL_SHIFT
    return HvStatus.ACCESS_DENIED if highest > vp.active_vtl else HvStatus.SUCCESS


def _flush_mask(
    vp: VirtualProcessor,
    address_space: int,
    flags: int,
    processor_mask: int,
    elements: memoryview | None,
) -> Answer:
    """Flush on the processors of a mask."""
    status, flags = _check(vp, address_space, flags, is_list=elements is not None)
    if status:
        return status
    empty = vp.partition.readings.mask_zero_flush
    return _flush(vp, address_space, flags, processor_mask, empty, elements)


def _flush_set(
    vp: VirtualProcessor,
    address_space: int,
    flags: int,
    format: int,
    valid_banks_mask: int,
    banks: memoryview,
    elements: memoryview | None,
) -> Answer:
    """Flush on a set of processors, which ALL_PROCESSORS makes irrelevant."""
    status, flags = _check(vp, address_space, flags, is_list=elements is not None)
    if status:
        return status
    partition = vp.partition
    mask = 0
    if not flags & _ALL_PROCESSORS:
        status, mask = read_set(
            partition.readings, partition.vp_mask, format, valid_banks_mask, banks
        )
        if status:
            return status
    return _flush(vp, address_space, flags, mask, partition.readings.empty_set_flush, elements)


def _flush(
    vp: VirtualProcessor,
    address_space: int,
    flags: int,
    mask: int,
    empty: EmptyMask,
    elements: memoryview | None,
) -> Answer:
    """Produce the flush; processors of the mask that do not exist are ignored.

    Args:
        vp: the caller.
        address_space: the CR3 value.
        flags: checked flags.
        mask: bit i for VP index i.
        empty: what an empty mask without ALL_PROCESSORS means.
        elements: the ranges of a list flush.
    """
    partition = vp.partition
    if flags & _ALL_PROCESSORS:
        mask = partition.vp_mask
    elif not mask:
        if empty is EmptyMask.REFUSE:
            return HvStatus.INVALID_PARAMETER
        if empty is EmptyMask.ALL_PROCESSORS:
            mask = partition.vp_mask
    targets = partition.vps_in(mask)
    if not targets:
        return HvStatus.SUCCESS
    if flags & _USE_TARGET_VTL:
        vtls = [vtl for vtl in (0, 1) if flags >> _TARGET_VTL_SHIFT + vtl & 1]
    else:
        vtls = [vp.active_vtl]
    # Without a VTL above the caller's nobody can have locked a TLB.
    if len(partition.vtls) > 1 and any(partition.vsm.must_wait(vp, targets, v) for v in vtls):
        return RETRY
    space = None if flags & _ALL_SPACES else address_space
    pages = None if elements is None else tuple(ranges(elements, bool(flags & _EXTENDED)))
    keep_globals = bool(flags & _NON_GLOBAL)
    for vtl in vtls:
        partition.effects.flush_translations(
            TranslationFlush(targets, vtl, space, pages, keep_globals)
        )
    return HvStatus.SUCCESS
