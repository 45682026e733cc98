"""The guest's memory as the loaders fill it, with the map that the guest is told of."""

from hypercall.machine.acpi import AcpiTables
from hypercall.partition.memory import HIGH_RAM_BASE, GuestMemory

_LOW_MEMORY_END = 0x9F000
_MEGABYTE = 0x100000
_RAM, _RESERVED = 1, 2


class GuestLoaderMemory:
    """A `LoaderMemory` on the partition's guest-physical memory.

    Args:
        memory: the guest's memory, still all zero but for the tables.
        acpi: the ACPI tables, which are written to their place.
        random_seed: what the guest's random numbers start from; empty for nothing.
    """

    zeroed = True

    def __init__(self, memory: GuestMemory, acpi: AcpiTables, random_seed: bytes = b"") -> None:
        self._memory = memory
        self.random_seed = random_seed
        self.size = memory.size
        self.size_below_4g = memory.size_below_4g
        self.acpi_rsdp = 0
        if acpi.address + len(acpi.data) <= memory.size_below_4g:
            memory.write(acpi.address, acpi.data)
            self.acpi_rsdp = acpi.rsdp

    def write(self, gpa: int, data: bytes) -> None:
        """Store bytes at a guest-physical address inside RAM."""
        self._memory.write(gpa, data)

    def e820(self) -> list[tuple[int, int, int]]:
        """The memory map: (start, length in bytes, type)."""
        ranges = [
            (0, _LOW_MEMORY_END, _RAM),
            (_LOW_MEMORY_END, _MEGABYTE - _LOW_MEMORY_END, _RESERVED),
            (_MEGABYTE, self.size_below_4g - _MEGABYTE, _RAM),
        ]
        if self.size > self.size_below_4g:
            ranges.append((HIGH_RAM_BASE, self.size - self.size_below_4g, _RAM))
        return [entry for entry in ranges if entry[1] > 0]
