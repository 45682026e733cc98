"""What higher VTLs let lower ones do with pages of RAM (TLFS ``vsm``, memory protections)."""

from collections.abc import Iterable

from hypercall.partition.memory import ALL_PERMISSIONS, PAGE_SIZE, GuestMemory, Permission
from hypercall.tlfs.readings import ExecuteBits

_PERMISSIONS = int(ALL_PERMISSIONS)
_EXPLICIT = 0x80
"""Set in a page's byte once somebody has set its protection: the default no longer counts."""

_READ_WRITE = int(Permission.READ | Permission.WRITE)
_KERNEL = int(Permission.KERNEL_EXECUTE)
_USER = int(Permission.USER_EXECUTE)


def valid_combination(mask: int, *, mbec: bool) -> bool:
    """Return whether a page can have these permissions (TLFS ``vsm``, Memory Access Protections).

    There are no access, R, RX, RW and RWX. Execution by the kernel alone is not defined; without
    mode-based execute control both kinds of execution go together.

    Args:
        mask: bits of `Permission`.
        mbec: the VTL that sets the protection has mode-based execute control.
    """
    if mask and not mask & Permission.READ:
        return False
    if mask & _KERNEL:
        return bool(mask & _USER)
    return mbec or not mask & _USER


def given_permissions(mask: int, execute_bits: ExecuteBits, *, mbec: bool) -> int:
    """Return the permissions that a guest means, as bits of `Permission`.

    Args:
        mask: the protections as the guest gives them.
        execute_bits: the partition's reading of the two bits about execution.
        mbec: the VTL that sets the protection has mode-based execute control.
    """
    if execute_bits is ExecuteBits.KERNEL_FIRST:
        return mask
    kernel = bool(mask & _USER)
    user = bool(mask & _KERNEL) if mbec else kernel
    return mask & _READ_WRITE | kernel * _KERNEL | user * _USER


class VtlProtections:
    """The protections of all VTLs; a page that several VTLs restrict allows what all of them do.

    Args:
        memory: whose pages they are; overlay pages are not subject to them.
        vtl_count: how many VTLs there can be.
    """

    __slots__ = ("_defaults", "_memory", "_page_count", "_pages", "_restricted")

    def __init__(self, memory: GuestMemory, vtl_count: int) -> None:
        self._memory = memory
        self._page_count = memory.size // PAGE_SIZE
        self._defaults = [_PERMISSIONS] * vtl_count
        self._pages: list[bytearray | None] = [None] * vtl_count
        self._restricted = [False] * vtl_count

    def restricted(self, vtl: int) -> bool:
        """Return whether a higher VTL may have restricted any page for this one."""
        return self._restricted[vtl]

    def allowed(self, ram_page: int, vtl: int) -> int:
        """Return what code in a VTL may do with a page of RAM, as bits of `Permission`.

        Args:
            ram_page: the number of the page in RAM, which holes do not count in.
            vtl: the VTL that accesses it.
        """
        result = _PERMISSIONS
        for setter in range(vtl + 1, len(self._defaults)):
            result &= self.set_by(setter, ram_page)
        return result

    def set_by(self, setter: int, ram_page: int) -> int:
        """Return what one VTL lets all lower ones do with a page of RAM."""
        pages = self._pages[setter]
        if pages is not None:
            value = pages[ram_page]
            if value:
                return value & _PERMISSIONS
        return self._defaults[setter]

    def first_refusal(self, ram_page: int, vtl: int, needed: int) -> int | None:
        """Return the lowest VTL above `vtl` that does not allow an access, or None.

        The lowest one is the first to be told of it (TLFS ``vsm``, Nested Intercepts).

        Args:
            ram_page: the number of the page in RAM.
            vtl: the VTL that accesses it.
            needed: the bits of `Permission` that the access needs.
        """
        for setter in range(vtl + 1, len(self._defaults)):
            if needed & ~self.set_by(setter, ram_page):
                return setter
        return None

    def set_default(self, setter: int, mask: int) -> None:
        """Set what holds for every page that has no protection of its own."""
        self._defaults[setter] = mask
        self._changed()

    def set_page(self, setter: int, ram_page: int, mask: int) -> None:
        """Set the protection of one page."""
        pages = self._pages[setter]
        if pages is None:
            pages = self._pages[setter] = bytearray(self._page_count)
            self._changed()
        pages[ram_page] = mask | _EXPLICIT

    def set_pages(self, setter: int, ram_pages: Iterable[int], mask: int) -> None:
        """Set the protection of several pages."""
        for ram_page in ram_pages:
            self.set_page(setter, ram_page, mask)

    def drop(self, setter: int) -> None:
        """Forget all that one VTL has set."""
        self._defaults[setter] = _PERMISSIONS
        self._pages[setter] = None
        self._changed()

    def _changed(self) -> None:
        above = False
        for vtl in range(len(self._defaults) - 1, -1, -1):
            self._restricted[vtl] = above
            above |= self._pages[vtl] is not None or self._defaults[vtl] != _PERMISSIONS
        self._memory.protections = self if any(self._restricted) else None


def includes_read_and_write(mask: int) -> bool:
    """Return whether a mask can be a default one, which leaves data accessible."""
    return mask & _READ_WRITE == _READ_WRITE
