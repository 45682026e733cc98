"""The processor masks and sets that calls name their targets with."""

from hypercall.tlfs.call_flags import VpSetFormat
from hypercall.tlfs.readings import ReadingSet, SetFormat
from hypercall.tlfs.status import HvStatus
from hypercall.tlfs.vp_set import sparse_bitmap

Banks = bytes | bytearray | memoryview


def read_set(
    readings: ReadingSet, everyone: int, format: int, valid_banks_mask: int, banks: Banks
) -> tuple[HvStatus, int]:
    """Read an HV_VP_SET (TLFS, HV_VP_SET).

    Args:
        readings: how the contradictions about sets are decided.
        everyone: what the format for all processors stands for: bit i for VP index i.
        format: 0 sparse, 1 all.
        valid_banks_mask: which banks are given.
        banks: the banks, 8 bytes each.

    Returns:
        SUCCESS and the set with bit i for VP index i, or why the set is refused and 0.
    """
    if format != VpSetFormat.SPARSE_4K:
        decision = readings.vp_set_format
        if decision is SetFormat.ANY_IS_ALL:
            mismatch = readings.vp_set_bank_mismatch
            if mismatch is not None and valid_banks_mask.bit_count() * 8 != len(banks):
                return mismatch, 0
        elif decision is SetFormat.SPARSE_ONLY or format != VpSetFormat.ALL:
            return HvStatus.INVALID_PARAMETER, 0
        return HvStatus.SUCCESS, everyone
    bitmap = sparse_bitmap(valid_banks_mask, banks)
    if bitmap is None:
        if readings.vp_set_bank_mismatch is not None:
            return readings.vp_set_bank_mismatch, 0
        needed = valid_banks_mask.bit_count() * 8
        bitmap = sparse_bitmap(valid_banks_mask, bytes(banks)[:needed].ljust(needed, b"\0"))
        assert bitmap is not None
    return HvStatus.SUCCESS, bitmap
