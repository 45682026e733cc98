"""From a destination and a delivery mode to the local APICs: IPIs and device interrupts."""

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypercall.partition.local_apic import LocalApic
    from hypercall.partition.partition import Partition


class DeliveryMode(IntEnum):
    """The delivery modes of ICR, LVT and redirection entries (Intel SDM, volume 3, APIC)."""

    FIXED = 0
    LOWEST_PRIORITY = 1
    SMI = 2
    NMI = 4
    INIT = 5
    START_UP = 6
    EXTERNAL = 7


def destinations(
    partition: "Partition", vtl: int, destination: int, *, logical: bool, x2apic: bool
) -> "list[LocalApic]":
    """Return the local APICs that a destination names, in order of VP index.

    Args:
        partition: whose APICs.
        vtl: in which VTL; interrupts stay in the sender's (TLFS, VSM, virtual interrupts).
        destination: 8 bits as in xAPIC mode, or 32 bits as in x2APIC mode.
        logical: the destination is a logical one.
        x2apic: the destination has 32 bits.
    """
    broadcast = 0xFFFFFFFF if x2apic else 0xFF
    if destination == broadcast:
        return [vp.vtls[vtl].apic for vp in partition.virtual_processors if vtl in vp.vtls]
    if not logical:
        vp = partition.by_apic_id.get(destination)
        return [vp.vtls[vtl].apic] if vp is not None and vtl in vp.vtls else []
    return [
        vp.vtls[vtl].apic
        for vp in partition.virtual_processors
        if vtl in vp.vtls and vp.vtls[vtl].apic.matches_logical(destination)
    ]


def deliver(
    partition: "Partition",
    targets: "Iterable[LocalApic]",
    mode: int,
    vector: int,
    *,
    level: bool = False,
) -> None:
    """Send one interrupt to the given APICs.

    Args:
        partition: whose APICs they are.
        targets: the APICs; in `DeliveryMode.LOWEST_PRIORITY` only one of them gets it.
        mode: the delivery mode; SMI and the reserved one do nothing.
        vector: the interrupt vector, or the start-up vector.
        level: the interrupt is level-triggered.
    """
    if mode == DeliveryMode.FIXED or mode == DeliveryMode.EXTERNAL:
        for apic in targets:
            apic.request(vector, level)
    elif mode == DeliveryMode.LOWEST_PRIORITY:
        candidates = [apic for apic in targets if apic.software_enabled]
        if candidates:
            # Ties go to the lowest VP index, which keeps runs repeatable.
            best = min(candidates, key=lambda apic: apic.processor_priority() >> 4)
            best.request(vector, level)
    elif mode == DeliveryMode.NMI:
        for apic in targets:
            apic.owner.vp.nmi(apic.owner.vtl)
    elif mode == DeliveryMode.INIT:
        for apic in targets:
            apic.owner.vp.init(apic.owner.vtl)
    elif mode == DeliveryMode.START_UP:
        for apic in targets:
            apic.owner.vp.start_up(vector, apic.owner.vtl)


def send_message_signalled(partition: "Partition", address: int, data: int, vtl: int = 0) -> None:
    """Deliver a message-signalled interrupt (Intel SDM, volume 3, message signalled interrupts).

    Args:
        partition: to whose processors.
        address: 0xFEExxxxx with the destination in bits 19:12; a write elsewhere is none.
        data: vector, delivery mode and trigger mode.
        vtl: to which VTL.
    """
    if address >> 20 != 0xFEE:
        return
    targets = destinations(
        partition, vtl, address >> 12 & 0xFF, logical=bool(address & 4), x2apic=False
    )
    deliver(partition, targets, data >> 8 & 7, data & 0xFF, level=bool(data & 0x8000))
