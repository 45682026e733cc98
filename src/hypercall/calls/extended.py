"""The extended calls: capabilities, memory that is known to be zero, hints and page faults."""

import struct

from hypercall.abi.reply import Reply, RepReply
from hypercall.calls.registration import serves
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import Call
from hypercall.tlfs.gpa_range import GpaRange, gpa_ranges
from hypercall.tlfs.privileges import ExtendedCapability
from hypercall.tlfs.readings import ReservedFields
from hypercall.tlfs.status import HvStatus

MAX_ZEROED_RANGES = 255
"""How many ranges the output of HvExtCallGetBootZeroedMemory has room for."""

_OUTPUT_SIZE = 0xFF8
_HEAT_TYPE = 3
_EPF_VERSION = 1
_EPF_MODE_NT = 0


@serves(Call.QUERY_CAPABILITIES)
def query_capabilities(vp: VirtualProcessor) -> Reply:
    """Tell which further extended calls there are."""
    capabilities = int(vp.partition.configuration.extended_capabilities)
    return Reply(HvStatus.SUCCESS, capabilities.to_bytes(8, "little"))


@serves(Call.GET_BOOT_ZEROED_MEMORY)
def get_boot_zeroed_memory(vp: VirtualProcessor) -> Reply | HvStatus:
    """List the memory that reads as zero now because nothing has ever written it.

    The largest ranges come first, for there may be more than the output has room for.
    """
    partition = vp.partition
    capabilities = partition.configuration.extended_capabilities
    if not capabilities & ExtendedCapability.GET_BOOT_ZEROED_MEMORY:
        return HvStatus.INVALID_HYPERCALL_CODE
    zeroed = _without(
        partition.effects.untouched_ranges(), partition.memory.overlay_pages(vp.active_vtl)
    )
    zeroed.sort(key=lambda entry: (-entry[1], entry[0]))
    del zeroed[MAX_ZEROED_RANGES:]
    words = [len(zeroed)] + [word for entry in zeroed for word in entry]
    return Reply(
        HvStatus.SUCCESS, struct.pack(f"<{len(words)}Q", *words).ljust(_OUTPUT_SIZE, b"\0")
    )


@serves(Call.EPF_SETUP)
def epf_setup(
    vp: VirtualProcessor, version: int, mode: int, completion_queue_gpa_page: int, page_count: int
) -> Reply | HvStatus:
    """Have enlightened page faults raised, and their completions queued."""
    if version != _EPF_VERSION or mode != _EPF_MODE_NT:
        return HvStatus.INVALID_PARAMETER
    used = vp.partition.page_faults.set_up(vp.active_vtl, completion_queue_gpa_page, page_count)
    if used is None:
        return HvStatus.INVALID_PARAMETER
    return Reply(HvStatus.SUCCESS, used.to_bytes(8, "little"))


@serves(Call.MEMORY_HEAT_HINT)
def memory_heat_hint(vp: VirtualProcessor, heat: int, elements: memoryview) -> RepReply | HvStatus:
    """Tell the host which memory will be used soon, which will not, and which may be dropped."""
    status, heat, ranges = _read_hints(vp, heat, elements, ExtendedCapability.MEMORY_HEAT_HINT)
    vp.partition.memory_hints.follow(heat, ranges)
    return RepReply(len(ranges), status)


@serves(Call.MEMORY_HEAT_HINT_ASYNC)
def memory_heat_hint_async(
    vp: VirtualProcessor, heat: int, elements: memoryview
) -> RepReply | HvStatus:
    """Tell the host the same without waiting until it has done something about it."""
    capability = ExtendedCapability.MEMORY_HEAT_HINT_ASYNC
    status, heat, ranges = _read_hints(vp, heat, elements, capability)
    if ranges:
        vp.partition.memory_hints.follow_later(vp.active_vtl, heat, ranges)
    return RepReply(len(ranges), status or vp.partition.readings.async_memory_hint)


def _read_hints(
    vp: VirtualProcessor, heat: int, elements: memoryview, capability: ExtendedCapability
) -> tuple[HvStatus, int, list[GpaRange]]:
    """Read hints up to the first that is refused.

    Returns:
        SUCCESS or why one is refused, the type of heat, and the ranges before that one.
    """
    hints = vp.partition.memory_hints
    if heat & ~_HEAT_TYPE:
        if vp.partition.readings.reserved_fields is ReservedFields.REFUSE:
            return HvStatus.INVALID_PARAMETER, heat, []
        heat &= _HEAT_TYPE
    status = hints.type_status(heat, capability)
    taken: list[GpaRange] = []
    if status:
        return status, heat, taken
    for entry in gpa_ranges(elements):
        status = hints.range_status(vp.active_vtl, heat, entry)
        if status or entry is None:
            return status, heat, taken
        taken.append(entry)
    return HvStatus.SUCCESS, heat, taken


def _without(ranges: list[tuple[int, int]], pages: list[int]) -> list[tuple[int, int]]:
    """Take single pages out of ranges: an overlay page there may read as something else.

    Args:
        ranges: (first page, page count).
        pages: page numbers in ascending order.
    """
    result = []
    for first, count in ranges:
        start = first
        for page in pages:
            if start <= page < first + count:
                if page > start:
                    result.append((start, page - start))
                start = page + 1
        if start < first + count:
            result.append((start, first + count - start))
    return result
