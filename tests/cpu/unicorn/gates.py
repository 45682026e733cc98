"""Contexts that take exceptions and interrupts, and count them."""

import struct

from tests.cpu.rig import Rig

IDT, GDT, HANDLER = 0x5000, 0x4000, 0x6000
GATED = range(0x40)


def gated(contexts: int = 2) -> Rig:
    """Contexts with gates, whose handler counts at 0x9000 + 4 * vector and ends the run."""
    rig = Rig(contexts)
    for number, value in enumerate((0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF)):
        rig.ram[GDT + 8 * number : GDT + 8 * number + 8] = value.to_bytes(8, "little")
    for vector in GATED:
        rig.code(f"inc dword ptr [{0x9000 + 4 * vector}]\nhlt", HANDLER + 16 * vector)
        gate = struct.pack("<HHHH", HANDLER + 16 * vector, 8, 0x8E00, 0)
        rig.ram[IDT + 8 * vector : IDT + 8 * vector + 8] = gate
    for context in range(contexts):
        rig.engine.set_segment(context, 8, 0, GDT, 0x17, 0)
        rig.engine.set_segment(context, 9, 0, IDT, 0x7FF, 0)
    return rig


def taken(rig: Rig) -> dict[int, int]:
    """How often each vector was taken."""
    counts = struct.unpack(f"<{len(GATED)}I", rig.ram[0x9000 : 0x9000 + 4 * len(GATED)])
    return {vector: count for vector, count in enumerate(counts) if count}
