"""The extended calls: capabilities, and memory that is known to be zero."""

import struct

from hypercall.abi.reply import Reply
from hypercall.calls.registration import serves
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import Call
from hypercall.tlfs.privileges import ExtendedCapability
from hypercall.tlfs.status import HvStatus

MAX_ZEROED_RANGES = 255
"""How many ranges the output of HvExtCallGetBootZeroedMemory has room for."""

_OUTPUT_SIZE = 0xFF8


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
