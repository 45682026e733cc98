"""Processor masks and HV_VP_SET, the sparse set of virtual processors.

Source: TLFS ``datatypes/hv_vp_set``. A set is handled as one integer with bit i for VP index i.
"""

from struct import unpack

from hypercall.tlfs.layout import Buffer

BANK_COUNT = 64
VPS_PER_BANK = 64


def sparse_bitmap(valid_banks_mask: int, banks: Buffer) -> int | None:
    """Read the banks of a sparse set.

    Args:
        valid_banks_mask: bit b is set when bank b is given.
        banks: the banks that are given, 8 bytes each, in ascending order of bank number.

    Returns:
        An integer with bit i set for each VP index i, or None when the number of banks is not the
        number of bits in the mask.
    """
    count = len(banks) // 8
    if valid_banks_mask.bit_count() != count:
        return None
    bitmap = 0
    remaining = valid_banks_mask
    for contents in unpack(f"<{count}Q", banks[: 8 * count]):
        lowest = remaining & -remaining
        bitmap |= contents << VPS_PER_BANK * (lowest.bit_length() - 1)
        remaining ^= lowest
    return bitmap


def indexes(bitmap: int) -> list[int]:
    """Return the VP indexes of a bitmap in ascending order."""
    found = []
    while bitmap:
        lowest = bitmap & -bitmap
        found.append(lowest.bit_length() - 1)
        bitmap ^= lowest
    return found


def pack_sparse(vp_indexes: list[int]) -> tuple[int, bytes]:
    """Build a sparse set.

    Args:
        vp_indexes: below 4096.

    Returns:
        The mask of valid banks and the banks' bytes.
    """
    contents: dict[int, int] = {}
    for index in vp_indexes:
        bank, bit = divmod(index, VPS_PER_BANK)
        contents[bank] = contents.get(bank, 0) | 1 << bit
    mask = sum(1 << bank for bank in contents)
    return mask, b"".join(contents[bank].to_bytes(8, "little") for bank in sorted(contents))
