"""Interrupts of devices that the guest can retarget (TLFS, HvCallRetargetDeviceInterrupt).

As on a virtual PCI bus, the message that a device sends does not say itself where its interrupt
goes: it names an entry of the device's table, and the entry has the vector and the processors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.virtual_processor import VirtualProcessor

_MESSAGE_BASE = 0xFEE0_0000
_INDEX_SHIFT = 2
_INDEX_MASK = 0xFFFF


@dataclass(slots=True)
class InterruptEntry:
    """Where one interrupt of a device goes.

    Attributes:
        vector: the vector.
        multicast: every target gets it; else the first of them.
        targets: the VP indexes, in ascending order.
        vtl: the VTL whose local APICs get it.
    """

    vector: int
    multicast: bool
    targets: tuple[int, ...]
    vtl: int = 0


class DeviceInterrupts:
    """The interrupt tables of a partition's devices, by device id.

    Args:
        partition: whose processors the interrupts go to.
    """

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition
        self._tables: dict[int, list[InterruptEntry]] = {}

    def add_device(self, device_id: int, entries: Sequence[InterruptEntry]) -> None:
        """Make a device known.

        Args:
            device_id: the id by which the guest names it.
            entries: its interrupts, which it sends by number.

        Raises:
            ValueError: another device has that id.
        """
        if device_id in self._tables:
            raise ValueError(f"two devices have the id {device_id:#x}")
        self._tables[device_id] = list(entries)

    def message(self, number: int) -> tuple[int, int]:
        """Return (address, data) of the message that names an entry of a device's table."""
        return _MESSAGE_BASE | number << _INDEX_SHIFT, 0

    def entry(self, device_id: int, number: int) -> InterruptEntry | None:
        """Return an entry of a device's table, or None."""
        table = self._tables.get(device_id, [])
        return table[number] if number < len(table) else None

    def retarget(
        self,
        device_id: int,
        address: int,
        vector: int,
        targets: Sequence["VirtualProcessor"],
        *,
        multicast: bool,
        vtl: int,
    ) -> HvStatus:
        """Let an interrupt go elsewhere from now on.

        Args:
            device_id: the device.
            address: the address of the message that names the interrupt.
            vector: the new vector.
            targets: the new targets; none leaves those that it has.
            multicast: whether all of them get it.
            vtl: the VTL whose local APICs get it.
        """
        if device_id not in self._tables:
            return HvStatus.INVALID_DEVICE_ID
        entry = None
        if address & ~(_INDEX_MASK << _INDEX_SHIFT) == _MESSAGE_BASE:
            entry = self.entry(device_id, address >> _INDEX_SHIFT & _INDEX_MASK)
        if entry is None:
            return HvStatus.INVALID_PARAMETER
        entry.vector = vector
        entry.multicast = multicast
        entry.vtl = vtl
        if targets:
            entry.targets = tuple(vp.index for vp in targets)
        return HvStatus.SUCCESS

    def signal(self, device_id: int, number: int) -> None:
        """Send an interrupt of a device; a number that it does not have is lost."""
        entry = self.entry(device_id, number)
        if entry is None:
            return
        targets = entry.targets if entry.multicast else entry.targets[:1]
        for index in targets:
            state = self._partition.by_index[index].vtls.get(entry.vtl)
            if state is not None:
                state.apic.request(entry.vector)
