"""Numbers with a special meaning: partition, virtual processor and VTL identifiers."""

from collections.abc import Collection

PAGE_SIZE = 4096
PAGE_SHIFT = 12

PARTITION_ID_SELF = 0xFFFF_FFFF_FFFF_FFFF
VP_INDEX_SELF = 0xFFFF_FFFE
ANY_VP = 0xFFFF_FFFF
INVALID_VTL = 0xFF
VTL_ALL = 0xF

INPUT_VTL_USE_TARGET = 0x10
INPUT_VTL_TARGET_MASK = 0x0F
INPUT_VTL_RESERVED_MASK = 0xE0
"""HV_INPUT_VTL: bits 3:0 target, 4 use the target (else the caller's active VTL), 7:5 RsvdZ."""


def input_vtl(value: int, active_vtl: int) -> int | None:
    """Read an HV_INPUT_VTL byte.

    Args:
        value: the byte.
        active_vtl: the caller's active VTL, meant when the use bit is clear.

    Returns:
        The VTL, or None when reserved bits are set.
    """
    if value & INPUT_VTL_RESERVED_MASK:
        return None
    return value & INPUT_VTL_TARGET_MASK if value & INPUT_VTL_USE_TARGET else active_vtl


def vp_set_text(indexes: Collection[int]) -> str:
    """Write a set of VP indexes with runs joined, for example ``{0-3,65}``."""
    parts: list[str] = []
    run: list[int] = []
    for index in sorted(indexes):
        if run and index == run[-1] + 1:
            run.append(index)
            continue
        if run:
            parts.append(_run_text(run))
        run = [index]
    if run:
        parts.append(_run_text(run))
    return "{" + ",".join(parts) + "}"


def _run_text(run: list[int]) -> str:
    if len(run) == 1:
        return str(run[0])
    return f"{run[0]}-{run[-1]}"
