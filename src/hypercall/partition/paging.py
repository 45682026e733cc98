"""What CR3 can be in the paging mode that a virtual processor is in (Intel SDM, volume 3)."""

import struct
from typing import TYPE_CHECKING

from hypercall.errors import GuestMemoryError
from hypercall.partition.register_rules import (
    CR0_PAGING,
    CR4_PAE,
    EFER_LONG_MODE_ACTIVE,
    valid_cr3,
)
from hypercall.tlfs.registers import RegisterName

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessor

_PDPTES = struct.Struct("<4Q")
_PRESENT = 1
_PDPTE_RESERVED = 0x1E6
"""Bits 2:1 and 8:5 of an entry that PAE paging keeps in the processor."""


def loadable_cr3(vp: "VirtualProcessor", value: int) -> bool:
    """Return whether MOV CR3 with the value would not raise #GP in the VTL that the VP runs in.

    Bit 63 is refused too: it asks MOV CR3 not to flush and is never stored. With PAE paging
    outside long mode the four entries that the processor loads are checked.
    """
    partition = vp.partition
    if not valid_cr3(value, partition.memory.address_bits):
        return False

    def register(name: RegisterName) -> int:
        return partition.effects.read_register(vp, vp.active_vtl, name)

    if register(RegisterName.EFER) & EFER_LONG_MODE_ACTIVE:
        return True
    if value >> 32:
        return False
    if not register(RegisterName.CR0) & CR0_PAGING or not register(RegisterName.CR4) & CR4_PAE:
        return True
    try:
        entries = _PDPTES.unpack(partition.memory.read(value & ~0x1F, 32, vp.active_vtl))
    except GuestMemoryError:
        return False
    reserved = _PDPTE_RESERVED | -(1 << partition.memory.address_bits)
    return not any(entry & _PRESENT and entry & reserved for entry in entries)
