"""Virtual Interrupt Notification Assist: a VTL hears of interrupts that it holds back (TLFS)."""

from typing import TYPE_CHECKING

from hypercall.tlfs.registers import VINA_ENABLED, VINA_VECTOR, RegisterName

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessor

_INTERRUPT_FLAG = 1 << 9


def notify_of_lower_interrupts(vp: "VirtualProcessor") -> None:
    """Interrupt the active VTL when a lower one could take an interrupt at once.

    It happens once until the guest, or the next entry with auto-reset, clears VinaAsserted.
    """
    active = vp.active_vtl
    secure = vp.vtls[active].secure
    if not VINA_ENABLED.get(secure.vina) or secure.vina_asserted:
        return
    for vtl, state in vp.vtls.items():
        if vtl < active and (state.secure.nmi_waits or _takes_interrupt(vp, vtl)):
            secure.vina_asserted = True
            vp.vtls[active].apic.request(VINA_VECTOR.get(secure.vina))
            return


def _takes_interrupt(vp: "VirtualProcessor", vtl: int) -> bool:
    """Return whether a VTL would take an interrupt at once if it ran."""
    if vp.vtls[vtl].apic.pending_vector() is None:
        return False
    flags = vp.partition.effects.read_register(vp, vtl, RegisterName.RFLAGS)
    return bool(flags & _INTERRUPT_FLAG)
