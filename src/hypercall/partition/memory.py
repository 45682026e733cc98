"""Guest-physical memory: RAM, and overlay pages that hide what lies beneath them."""

import struct
from enum import IntEnum, IntFlag
from typing import NamedTuple, Protocol

from hypercall.errors import GuestMemoryError, HypercallError

PAGE_SIZE = 4096
LOW_RAM_LIMIT = 3 << 30
"""RAM up to this size lies at address 0; what exceeds it lies at `HIGH_RAM_BASE`."""
HIGH_RAM_BASE = 4 << 30

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Permission(IntFlag):
    """What a mapping allows; the bits are those of HV_MAP_GPA_FLAGS (TLFS, HV_MAP_GPA_FLAGS)."""

    READ = 1
    WRITE = 2
    KERNEL_EXECUTE = 4
    USER_EXECUTE = 8


ALL_PERMISSIONS = (
    Permission.READ | Permission.WRITE | Permission.KERNEL_EXECUTE | Permission.USER_EXECUTE
)
READ_WRITE = Permission.READ | Permission.WRITE
READ_EXECUTE = Permission.READ | Permission.KERNEL_EXECUTE | Permission.USER_EXECUTE

_READ = int(Permission.READ)
_WRITE = int(Permission.WRITE)


class Backing(IntEnum):
    """Which of the two host buffers holds a page."""

    RAM = 0
    ARENA = 1


class Resolution(NamedTuple):
    """Where a guest-physical page is and what may be done with it.

    Attributes:
        backing: the buffer that holds the page.
        offset: the offset of the page in that buffer, in bytes.
        permissions: what the mapping allows.
    """

    backing: Backing
    offset: int
    permissions: Permission


class MemoryListener(Protocol):
    """What the processor wants to hear of changes that the partition makes to memory."""

    def mapping_changed(self, vtl: int, page: int) -> None:
        """The guest-physical page number `page` resolves to something else for this VTL."""

    def host_wrote(self, backing_offset: int, length: int) -> None:
        """The host changed bytes; `backing_offset` is an offset in RAM, or RAM size + in arena."""


class PageProtections(Protocol):
    """What higher VTLs let lower ones do with pages of RAM."""

    def restricted(self, vtl: int) -> bool:
        """Return whether any page may be restricted for the VTL."""

    def allowed(self, ram_page: int, vtl: int) -> int:
        """Return the bits of `Permission` of a page of RAM for the VTL."""


class OverlayPage:
    """A page outside RAM that can be laid over any guest-physical page; it keeps its content.

    Attributes:
        slot: the number of the page in the arena.
        view: its 4096 bytes.
        vtl: the VTL that sees it while it is mapped.
        page: the guest-physical page number that it lies over, or None while it is not mapped.
        permissions: what the guest may do with it while it is mapped.
    """

    __slots__ = ("page", "permissions", "slot", "view", "vtl")

    def __init__(self, slot: int, view: memoryview) -> None:
        self.slot = slot
        self.view = view
        self.vtl = 0
        self.page: int | None = None
        self.permissions = READ_WRITE


class GuestMemory:
    """The guest-physical address space of a partition (TLFS, GPA Space; overlay pages).

    RAM lies at [0, min(size, 3 GiB)) and, beyond 3 GiB, from 4 GiB on; a page's offset in `ram` is
    its address below 3 GiB, and its address less 1 GiB above. Overlay pages live in `arena` and
    are never copied into RAM; each VTL has its own.

    Args:
        ram: the bytes of RAM, writable, a multiple of 4096 long.
        arena: the bytes for overlay pages, writable, a multiple of 4096 long.
        address_bits: the width of a guest-physical address.
        vtl_count: how many VTLs there can be.

    Attributes:
        ram, arena: the two buffers.
        size: the size of RAM in bytes.
        size_below_4g: how much of it lies at address 0.
        high_end: the end of the rest, which lies at `HIGH_RAM_BASE`.
        address_bits: the width of a guest-physical address.
        page_limit: the number of pages of the address space.
        listener: who is told of changes.
        evicted: the pages of RAM that the host has taken out.
        protections: what VTLs have forbidden lower ones, or None while that is nothing.
    """

    def __init__(
        self,
        ram: memoryview | bytearray,
        arena: memoryview | bytearray,
        *,
        address_bits: int = 40,
        vtl_count: int = 3,
    ) -> None:
        self.ram = memoryview(ram).cast("B")
        self.arena = memoryview(arena).cast("B")
        if len(self.ram) % PAGE_SIZE or len(self.arena) % PAGE_SIZE:
            raise ValueError("RAM and arena must be whole pages of 4096 bytes")
        self.size = len(self.ram)
        self.size_below_4g = min(self.size, LOW_RAM_LIMIT)
        self.high_end = HIGH_RAM_BASE + self.size - self.size_below_4g
        self.address_bits = address_bits
        self.page_limit = 1 << (address_bits - 12)
        self.listener: MemoryListener | None = None
        self.evicted: set[int] = set()
        self.protections: PageProtections | None = None
        self._host_permissions: dict[int, Permission] = {}
        self._overlays: tuple[dict[int, list[OverlayPage]], ...] = tuple(
            {} for _ in range(vtl_count)
        )
        self._free_slots = list(range(len(self.arena) // PAGE_SIZE - 1, -1, -1))

    def resolve(self, page: int, vtl: int = 0) -> Resolution | None:
        """Return where the page is, or None where there is neither RAM nor an overlay.

        Args:
            page: the guest-physical page number.
            vtl: the VTL that looks.
        """
        stack = self._overlays[vtl].get(page)
        if stack:
            overlay = stack[-1]
            return Resolution(Backing.ARENA, overlay.slot * PAGE_SIZE, overlay.permissions)
        offset = self.ram_offset(page)
        if offset is None:
            return None
        host = ALL_PERMISSIONS
        if self._host_permissions:
            host = self._host_permissions.get(page, ALL_PERMISSIONS)
        if self.protections is None:
            return Resolution(Backing.RAM, offset, host)
        allowed = self.protections.allowed(offset // PAGE_SIZE, vtl)
        return Resolution(Backing.RAM, offset, Permission(allowed & host))

    def ram_offset(self, page: int) -> int | None:
        """Return the offset in `ram` of a guest-physical page, or None where there is no RAM."""
        gpa = page << 12
        if gpa < self.size_below_4g:
            return gpa
        if HIGH_RAM_BASE <= gpa < self.high_end:
            return gpa - HIGH_RAM_BASE + LOW_RAM_LIMIT
        return None

    def host_permissions(self, page: int) -> Permission:
        """Return what the host lets the partition do with a page of RAM."""
        return self._host_permissions.get(page, ALL_PERMISSIONS)

    def restrict(self, page: int, permissions: Permission) -> None:
        """Set what the host lets every VTL do with a page of RAM (TLFS, HV_MAP_GPA_FLAGS).

        What it forbids raises #GP in guest code, and `GuestMemoryError` for a hypercall's
        parameters, whatever higher VTLs allow.
        """
        if permissions == ALL_PERMISSIONS:
            self._host_permissions.pop(page, None)
        else:
            self._host_permissions[page] = permissions
        if self.listener is not None:
            for vtl in range(len(self._overlays)):
                self.listener.mapping_changed(vtl, page)

    def set_evicted(self, page: int, evicted: bool) -> None:
        """Say whether a page of RAM is out: guest code cannot reach it then, the host still can."""
        (self.evicted.add if evicted else self.evicted.discard)(page)
        if self.listener is not None:
            for vtl in range(len(self._overlays)):
                self.listener.mapping_changed(vtl, page)

    def has_overlay(self, page: int, vtl: int = 0) -> bool:
        """Return whether an overlay page hides what else is at the page, for this VTL."""
        return page in self._overlays[vtl]

    @property
    def free_overlay_pages(self) -> int:
        """How many overlay pages can still be taken from the arena."""
        return len(self._free_slots)

    def is_ram(self, page: int) -> bool:
        """Return whether there is RAM at the page, be it hidden beneath an overlay or not."""
        return self.ram_offset(page) is not None

    def read(self, gpa: int, length: int, vtl: int = 0) -> bytes:
        """Return `length` bytes at `gpa` as this VTL sees them.

        Raises:
            GuestMemoryError: a byte lies in no mapping, or in one that forbids reading.
        """
        overlays = self._overlays[vtl]
        # The usual case: RAM below 3 GiB, and either no overlay at all or a single page without.
        if (
            gpa + length <= self.size_below_4g
            and (
                not overlays or ((gpa & 0xFFF) + length <= PAGE_SIZE and gpa >> 12 not in overlays)
            )
            and (self.protections is None or not self.protections.restricted(vtl))
            and not self._host_permissions
        ):
            return self.ram[gpa : gpa + length].tobytes()
        pieces = []
        while length > 0:
            count = min(length, PAGE_SIZE - (gpa & 0xFFF))
            view = self._view(gpa, count, vtl, _READ)
            pieces.append(view.tobytes())
            gpa += count
            length -= count
        return b"".join(pieces)

    def write(self, gpa: int, data: bytes | bytearray | memoryview, vtl: int = 0) -> None:
        """Write bytes at `gpa` as this VTL could; nothing is written when a part cannot be.

        Raises:
            GuestMemoryError: a byte lies in no mapping, or in one that forbids writing.
        """
        length = len(data)
        if (gpa & 0xFFF) + length <= PAGE_SIZE:
            if length:
                self._view(gpa, length, vtl, _WRITE)[:] = data
                self._wrote(gpa, length, vtl)
            return
        views: list[tuple[int, memoryview]] = []
        position = gpa
        end = gpa + length
        while position < end:
            count = min(end - position, PAGE_SIZE - (position & 0xFFF))
            views.append((position, self._view(position, count, vtl, _WRITE)))
            position += count
        done = 0
        for position, view in views:
            view[:] = data[done : done + len(view)]
            done += len(view)
            self._wrote(position, len(view), vtl)

    def check(self, gpa: int, length: int, vtl: int = 0, *, write: bool = False) -> None:
        """Find out whether an access would be allowed.

        Raises:
            GuestMemoryError: it would not be.
        """
        while length > 0:
            count = min(length, PAGE_SIZE - (gpa & 0xFFF))
            self._view(gpa, count, vtl, _WRITE if write else _READ)
            gpa += count
            length -= count

    def read_u32(self, gpa: int, vtl: int = 0) -> int:
        """Return the little-endian 32-bit number at `gpa`; raises as `read`."""
        value: int = _U32.unpack(self.read(gpa, 4, vtl))[0]
        return value

    def read_u64(self, gpa: int, vtl: int = 0) -> int:
        """Return the little-endian 64-bit number at `gpa`; raises as `read`."""
        value: int = _U64.unpack(self.read(gpa, 8, vtl))[0]
        return value

    def write_u32(self, gpa: int, value: int, vtl: int = 0) -> None:
        """Write a little-endian 32-bit number at `gpa`; raises as `write`."""
        self.write(gpa, _U32.pack(value), vtl)

    def write_u64(self, gpa: int, value: int, vtl: int = 0) -> None:
        """Write a little-endian 64-bit number at `gpa`; raises as `write`."""
        self.write(gpa, _U64.pack(value), vtl)

    def zero_ram(self) -> None:
        """Make all of RAM zero."""
        zeros = bytes(1 << 20)
        for start in range(0, self.size, len(zeros)):
            end = min(start + len(zeros), self.size)
            self.ram[start:end] = zeros[: end - start]
        if self.listener is not None:
            self.listener.host_wrote(0, self.size)

    def new_overlay(self, content: bytes = b"", fill: int = 0) -> OverlayPage:
        """Take a page from the arena, not yet mapped anywhere.

        Args:
            content: its first bytes.
            fill: the value of the bytes after them.

        Raises:
            HypercallError: the arena has no free page.
        """
        if not self._free_slots:
            raise HypercallError(
                f"all {len(self.arena) // PAGE_SIZE} overlay pages of the partition are in use"
            )
        slot = self._free_slots.pop()
        view = self.arena[slot * PAGE_SIZE : (slot + 1) * PAGE_SIZE]
        view[:] = content + bytes([fill]) * (PAGE_SIZE - len(content))
        overlay = OverlayPage(slot, view)
        # The slot may have held another page before, with code that the processor remembers.
        self.overlay_wrote(overlay, 0, PAGE_SIZE)
        return overlay

    def map_overlay(
        self,
        vtl: int,
        gpa_page: int,
        permissions: Permission = READ_WRITE,
        overlay: OverlayPage | None = None,
    ) -> OverlayPage:
        """Lay an overlay page over a guest-physical page, above those that lie there already.

        Args:
            vtl: the VTL that shall see it.
            gpa_page: the guest-physical page number; there need not be RAM beneath.
            permissions: what the guest may do with it.
            overlay: the page to lay there; without it a new zeroed one is taken. One that is
                mapped elsewhere is moved.

        Returns:
            The overlay page.

        Raises:
            ValueError: the page is beyond the guest-physical address space.
            HypercallError: the arena has no free page.
        """
        if not 0 <= gpa_page < self.page_limit:
            raise ValueError(f"page {gpa_page:#x} is beyond the guest-physical address space")
        if overlay is None:
            overlay = self.new_overlay()
        elif overlay.page is not None:
            self.unmap_overlay(overlay)
        overlay.vtl = vtl
        overlay.page = gpa_page
        overlay.permissions = permissions
        self._overlays[vtl].setdefault(gpa_page, []).append(overlay)
        if self.listener is not None:
            self.listener.mapping_changed(vtl, gpa_page)
        return overlay

    def unmap_overlay(self, overlay: OverlayPage) -> None:
        """Take an overlay page away, which reveals what is beneath; its content stays in it."""
        page = overlay.page
        if page is None:
            return
        stack = self._overlays[overlay.vtl][page]
        stack.remove(overlay)
        if not stack:
            del self._overlays[overlay.vtl][page]
        overlay.page = None
        if self.listener is not None:
            self.listener.mapping_changed(overlay.vtl, page)

    def release_overlay(self, overlay: OverlayPage) -> None:
        """Unmap an overlay page if need be and give it back to the arena."""
        self.unmap_overlay(overlay)
        self._free_slots.append(overlay.slot)

    def overlay_pages(self, vtl: int = 0) -> list[int]:
        """Return the guest-physical page numbers that have an overlay, in ascending order."""
        return sorted(self._overlays[vtl])

    def _view(self, gpa: int, length: int, vtl: int, access: int) -> memoryview:
        """Return the bytes of an access that stays within one page, as a window on the backing."""
        resolution = self.resolve(gpa >> 12, vtl)
        if resolution is None or not resolution[2] & access:
            raise GuestMemoryError(gpa, "write" if access == _WRITE else "read")
        buffer = self.ram if resolution[0] is Backing.RAM else self.arena
        start = resolution[1] + (gpa & 0xFFF)
        return buffer[start : start + length]

    def _wrote(self, gpa: int, length: int, vtl: int) -> None:
        """Tell the listener of a write that stays within one page."""
        if self.listener is None:
            return
        resolution = self.resolve(gpa >> 12, vtl)
        if resolution is not None:
            base = 0 if resolution[0] is Backing.RAM else self.size
            self.listener.host_wrote(base + resolution[1] + (gpa & 0xFFF), length)

    def overlay_wrote(self, overlay: OverlayPage, offset: int, length: int) -> None:
        """Tell the listener that the host changed bytes of an overlay page through its view."""
        if self.listener is not None:
            self.listener.host_wrote(self.size + overlay.slot * PAGE_SIZE + offset, length)
