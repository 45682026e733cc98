"""A rig whose contexts have paging, and a window that shows one of two pages."""

import struct

from tests.cpu.rig import Rig

RAX = 0
CR0, CR3, CR4 = 0, 3, 4
DIRECTORY, TABLE = 0x10000, 0x11000
WINDOW = 0x400000
OLD, NEW = 0x20000, 0x21000
LOOK = f"movzx eax, byte ptr [{WINDOW}]"


def paged(contexts: int = 1, pages: int = 1) -> Rig:
    """Contexts with two-level paging: memory one to one, and pages at the window."""
    rig = Rig(contexts)
    rig.ram[DIRECTORY : DIRECTORY + 8] = struct.pack("<2I", 0x87, TABLE | 7)
    rig.ram[OLD], rig.ram[NEW] = 1, 2
    remap(rig, OLD, pages)
    for context in range(contexts):
        rig.engine.set_control(context, CR3, DIRECTORY)
        rig.engine.set_control(context, CR4, 0x10)
        rig.engine.set_control(context, CR0, 0x80000011)
    return rig


def remap(rig: Rig, page: int = NEW, pages: int = 1) -> None:
    """Let the window show another page."""
    rig.ram[TABLE : TABLE + 4 * pages] = struct.pack("<I", page | 7) * pages


def look(rig: Rig, context: int = 0) -> int:
    """What the code of a context reads at the window."""
    rig.run(LOOK, context)
    return rig.engine.get_general(context, RAX)
