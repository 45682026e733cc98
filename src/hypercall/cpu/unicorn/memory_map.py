"""Keeps the engine's tables in step with the partition's guest-physical memory."""

from collections.abc import Sequence

from hypercall.cpu.unicorn.engine import Engine
from hypercall.partition.memory import Backing, GuestMemory

_PAGE = 4096


class MemoryMap:
    """One table for each VTL, filled from `GuestMemory.resolve`; a memory listener.

    Args:
        engine: the engine.
        memory: the guest's memory, whose buffers are those of the engine.
        devices: guest-physical addresses of pages of device registers.
        vtl_count: how many VTLs there can be; table n is that of VTL n.
    """

    def __init__(
        self, engine: Engine, memory: GuestMemory, devices: tuple[int, ...], vtl_count: int
    ) -> None:
        self._engine = engine
        self._memory = memory
        self._contexts: list[list[int]] = [[] for _ in range(vtl_count)]
        self._devices = {gpa // _PAGE: engine.map_device(gpa) for gpa in devices}
        pages = (
            memory.high_end // _PAGE
            if memory.size > memory.size_below_4g
            else (memory.size // _PAGE)
        )
        for vtl in range(vtl_count):
            engine.add_table(pages)
            low = memory.size_below_4g // _PAGE
            engine.set_entries(vtl, 0, low, engine.entry("ram", 0, 15))
            if pages > low:
                first = (4 << 30) // _PAGE
                engine.set_entries(
                    vtl, first, pages - first, engine.entry("ram", memory.size_below_4g, 15)
                )
            for page in self._devices:
                engine.set_entries(vtl, page, 1, self._devices[page])

    def add_context(self, vtl: int) -> int:
        """Add a context that sees the memory of a VTL; returns its number."""
        context = self._engine.add_context(vtl)
        self._contexts[vtl].append(context)
        return context

    def entry(self, page: int, vtl: int) -> int:
        """The table entry that a page has by the partition's mapping."""
        resolution = self._memory.resolve(page, vtl)
        if resolution is None:
            return self._devices.get(page, self._engine.void_entry)
        if resolution.backing is Backing.RAM and page in self._memory.evicted:
            return self._engine.entry("ram", resolution.offset, 0)
        backing = "ram" if resolution.backing is Backing.RAM else "arena"
        return self._engine.entry(backing, resolution.offset, int(resolution.permissions))

    def mapping_changed(self, vtl: int, page: int) -> None:
        """Take over a changed mapping; the VTL's translations are dropped on every processor."""
        self._engine.set_entries(vtl, page, 1, self.entry(page, vtl))
        for context in self._contexts[vtl]:
            self._engine.flush(context)

    def protection_changed(self, vtl: int, pages: Sequence[int] | None) -> None:
        """Take over changed permissions of pages, or of all; translations are dropped."""
        if pages is None:
            low = self._memory.size_below_4g // _PAGE
            first = (4 << 30) // _PAGE
            high = (self._memory.size - self._memory.size_below_4g) // _PAGE
            pages = (*range(low), *range(first, first + high))
        for page in pages:
            self._engine.set_entries(vtl, page, 1, self.entry(page, vtl))
        for context in self._contexts[vtl]:
            self._engine.flush(context)

    def host_wrote(self, backing_offset: int, length: int) -> None:
        """Drop the code that was translated from bytes that the host has changed."""
        if backing_offset < self._memory.size:
            self._engine.host_wrote("ram", backing_offset, length)
        else:
            self._engine.host_wrote("arena", backing_offset - self._memory.size, length)
