"""The board's two address spaces besides RAM: I/O ports and memory-mapped registers.

A device says which ports or guest-physical ranges are its own and is added to the :class:`Bus`.
The run loop hands every port and memory-mapped access of the guest to the bus. As on an ISA bus,
what nobody claims reads as all ones and ignores writes.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

_PORT_COUNT = 0x10000

_ReadPort = Callable[[int, int], int]
_WritePort = Callable[[int, int, int], None]


@runtime_checkable
class PortDevice(Protocol):
    """A device with I/O ports.

    Attributes:
        ports: the ranges of ports that are the device's own.
        widest_access: 1, 2 or 4: a wider access is split by the bus into accesses of this size
            at consecutive ports, lowest first, as the ISA bus does for byte-wide devices.
    """

    @property
    def ports(self) -> Sequence[range]:
        """The ranges of ports that are the device's own."""
        ...

    @property
    def widest_access(self) -> int:
        """The widest access in bytes that the device takes in one piece: 1, 2 or 4."""
        ...

    def read_port(self, port: int, size: int) -> int:
        """The value of a read of ``size`` bytes at ``port``, below ``1 << (8 * size)``."""
        ...

    def write_port(self, port: int, size: int, value: int) -> None:
        """Take a write of ``value``, below ``1 << (8 * size)``, at ``port``."""
        ...


@runtime_checkable
class MemoryMappedDevice(Protocol):
    """A device with registers in guest-physical memory."""

    @property
    def regions(self) -> Sequence[range]:
        """The ranges of guest-physical addresses that are the device's own."""
        ...

    def read_memory(self, gpa: int, size: int) -> int:
        """The value of a read of ``size`` bytes (1, 2, 4 or 8) at ``gpa``."""
        ...

    def write_memory(self, gpa: int, size: int, value: int) -> None:
        """Take a write of ``value``, below ``1 << (8 * size)``, at ``gpa``."""
        ...


class Bus:
    """Finds the device that an access of the guest is for.

    Attributes:
        observer: called as ``observer(port, size, value, write)`` for each port access that no
            device claims; None (the default) ignores them.
    """

    def __init__(self) -> None:
        self.observer: Callable[[int, int, int, bool], None] | None = None
        self._devices: list[PortDevice | MemoryMappedDevice] = []
        # One entry a port, so that an access costs one look-up however many devices there are.
        self._ports: dict[int, tuple[_ReadPort, _WritePort, int]] = {}
        self._regions: list[tuple[int, int, MemoryMappedDevice]] = []

    @property
    def devices(self) -> tuple[PortDevice | MemoryMappedDevice, ...]:
        """The devices in the order in which they were added."""
        return tuple(self._devices)

    @property
    def regions(self) -> tuple[range, ...]:
        """The guest-physical ranges that devices claim, in ascending order."""
        return tuple(range(start, end) for start, end, _ in self._regions)

    def add(self, device: PortDevice | MemoryMappedDevice) -> None:
        """Connect a device's ports and memory-mapped ranges.

        Raises:
            ValueError: a port or address is another device's already, or is out of range.
        """
        if isinstance(device, PortDevice):
            self._add_ports(device)
        if isinstance(device, MemoryMappedDevice):
            self._add_regions(device)
        self._devices.append(device)

    def _add_ports(self, device: PortDevice) -> None:
        entry = (device.read_port, device.write_port, device.widest_access)
        claimed = [port for ports in device.ports for port in ports]
        for port in claimed:
            if not 0 <= port < _PORT_COUNT:
                raise ValueError(f"port {port:#x} does not exist")
            if port in self._ports:
                raise ValueError(f"port {port:#x} is claimed by two devices")
        self._ports.update(dict.fromkeys(claimed, entry))

    def _add_regions(self, device: MemoryMappedDevice) -> None:
        for region in device.regions:
            for start, end, _ in self._regions:
                if region.start < end and start < region.stop:
                    raise ValueError(f"address {max(start, region.start):#x} is claimed twice")
            self._regions.append((region.start, region.stop, device))
        self._regions.sort(key=lambda entry: entry[0])

    def read_port(self, port: int, size: int) -> int:
        """The guest reads ``size`` bytes (1, 2 or 4) at ``port``."""
        entry = self._ports.get(port)
        if entry is None:
            value = (1 << (8 * size)) - 1
            if self.observer is not None:
                self.observer(port, size, value, False)
            return value
        if size <= entry[2]:
            return entry[0](port, size)
        step = entry[2]
        value = 0
        for offset in range(0, size, step):
            value |= self.read_port((port + offset) % _PORT_COUNT, step) << (8 * offset)
        return value

    def write_port(self, port: int, size: int, value: int) -> None:
        """The guest writes the low ``size`` bytes (1, 2 or 4) of ``value`` to ``port``."""
        value &= (1 << (8 * size)) - 1
        entry = self._ports.get(port)
        if entry is None:
            if self.observer is not None:
                self.observer(port, size, value, True)
            return
        if size <= entry[2]:
            entry[1](port, size, value)
            return
        step = entry[2]
        for offset in range(0, size, step):
            self.write_port((port + offset) % _PORT_COUNT, step, value >> (8 * offset))

    def read_memory(self, gpa: int, size: int) -> int:
        """The guest reads ``size`` bytes at a guest-physical address outside RAM."""
        for start, end, device in self._regions:
            if start <= gpa < end:
                return device.read_memory(gpa, size)
        return (1 << (8 * size)) - 1

    def write_memory(self, gpa: int, size: int, value: int) -> None:
        """The guest writes the low ``size`` bytes of ``value`` outside RAM."""
        for start, end, device in self._regions:
            if start <= gpa < end:
                device.write_memory(gpa, size, value & ((1 << (8 * size)) - 1))
                return
