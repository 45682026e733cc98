"""A register that places an overlay page: bit 0 enables it, bits 63:12 say where it lies."""

import contextlib

from hypercall.errors import GuestMemoryError
from hypercall.partition.memory import READ_WRITE, GuestMemory, OverlayPage, Permission


class OverlayRegister:
    """One of the registers SIMP, SIEFP, VP assist page and reference TSC page of one VTL.

    The page keeps its content while it is disabled or moved, and has its initial content again
    after a reset. One that is placed beyond the guest-physical address space is enabled, but
    the guest cannot reach it (TLFS, SIMP register).

    Args:
        memory: the guest's memory.
        vtl: the VTL whose register it is.
        permissions: what the guest may do with the page.
        content: its initial content.
        in_ram: nothing is mapped; the content is written into the page each time it is enabled.

    Attributes:
        value: the register as the guest reads it; reserved bits are preserved.
        view: the bytes of the page while it is enabled, otherwise None.
    """

    __slots__ = (
        "_content",
        "_in_ram",
        "_memory",
        "_permissions",
        "_vtl",
        "overlay",
        "value",
        "view",
    )

    def __init__(
        self,
        memory: GuestMemory,
        vtl: int,
        permissions: Permission = READ_WRITE,
        content: bytes = b"",
        *,
        in_ram: bool = False,
    ) -> None:
        self._memory = memory
        self._vtl = vtl
        self._permissions = permissions
        self._content = content
        self._in_ram = in_ram
        self.overlay: OverlayPage | None = None
        self.value = 0
        self.view: memoryview | None = None

    @property
    def enabled(self) -> bool:
        """Whether the guest has enabled the page."""
        return bool(self.value & 1)

    def write(self, value: int) -> None:
        """Set the register, which maps, moves or unmaps the page.

        Raises:
            HypercallError: there is no free overlay page.
        """
        self.value = value
        if self._in_ram:
            if value & 1:
                self._write_to_ram(value >> 12 << 12)
            return
        overlay = self.overlay
        if not value & 1:
            self.view = None
            if overlay is not None:
                self._memory.unmap_overlay(overlay)
            return
        if overlay is None:
            # Pages are taken at first use: most guests never enable most of them.
            overlay = self.overlay = self._memory.new_overlay(self._content)
        self.view = overlay.view
        page = value >> 12
        if page >= self._memory.page_limit:
            self._memory.unmap_overlay(overlay)
        elif overlay.page != page:
            self._memory.map_overlay(self._vtl, page, self._permissions, overlay)

    def _write_to_ram(self, gpa: int) -> None:
        # Where there is no memory, or none that the VTL may write, the page is nowhere.
        with contextlib.suppress(GuestMemoryError):
            self._memory.write(gpa, self._content, self._vtl)

    def reset(self) -> None:
        """Disable the page and give it back; the next one enabled has the initial content."""
        self.write(0)
        if self.overlay is not None:
            self._memory.release_overlay(self.overlay)
            self.overlay = None

    def wrote(self, offset: int, length: int) -> None:
        """Tell the processor that bytes of the page were changed through `view`."""
        if self.overlay is not None:
            self._memory.overlay_wrote(self.overlay, offset, length)
