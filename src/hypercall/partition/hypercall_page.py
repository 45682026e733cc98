"""The hypercall page: its content, and the registers that place and lock it."""

from hypercall.partition.faults import GeneralProtection
from hypercall.partition.memory import ALL_PERMISSIONS, READ_EXECUTE, GuestMemory, OverlayPage
from hypercall.tlfs.readings import PageWithoutOsId

ENABLE = 1 << 0
LOCKED = 1 << 1
_RESERVED = 0xFFC

_VMCALL = b"\x0f\x01\xc1"
_RET = b"\xc3"


def _switch_entries(code: int) -> tuple[bytes, bytes]:
    """Return the 32-bit and the 64-bit entry that makes a VTL call or return of this call code."""
    load = code.to_bytes(4, "little")
    entry_32 = b"\x89\xc1" + b"\xb8" + load + _VMCALL + _RET  # mov ecx, eax; mov eax, code
    entry_64 = b"\x48\x89\xc8" + b"\xb9" + load + _VMCALL + _RET  # mov rax, rcx; mov ecx, code
    return entry_32, entry_64


def _content() -> bytes:
    call_32, call_64 = _switch_entries(0x11)
    return_32, return_64 = _switch_entries(0x12)
    return _VMCALL + _RET + call_32 + call_64 + return_32 + return_64


CONTENT = _content()
"""The code of the page: the hypercall at 0, then VTL call and return for 32- and 64-bit callers."""

VTL_CALL_OFFSET_32 = 4
VTL_CALL_OFFSET_64 = VTL_CALL_OFFSET_32 + len(_switch_entries(0x11)[0])
VTL_RETURN_OFFSET_32 = VTL_CALL_OFFSET_64 + len(_switch_entries(0x11)[1])
VTL_RETURN_OFFSET_64 = VTL_RETURN_OFFSET_32 + len(_switch_entries(0x12)[0])

_BREAKPOINT = 0xCC


class HypercallPage:
    """The hypercall page of one VTL, with GUEST_OS_ID and HYPERCALL (TLFS, Hypercall Interface).

    Attributes:
        guest_os_id: the GUEST_OS_ID register.
        value: the HYPERCALL register.
        enabled: whether hypercalls can be made: the page is enabled and the guest has said what it
            is. Every call asks for it, so it is kept.
    """

    __slots__ = (
        "_memory",
        "_overlay",
        "_refuse_reserved",
        "_vtl",
        "_without_os_id",
        "_writable",
        "enabled",
        "guest_os_id",
        "value",
    )

    def __init__(
        self,
        memory: GuestMemory,
        vtl: int,
        *,
        refuse_reserved: bool = False,
        without_os_id: PageWithoutOsId = PageWithoutOsId.DISABLED,
        writable: bool = False,
    ) -> None:
        """Make the page, not enabled.

        Args:
            memory: where it appears.
            vtl: whose page it is.
            refuse_reserved: whether reserved bits of HYPERCALL are #GP, else they are preserved.
            without_os_id: what becomes of it while GUEST_OS_ID is zero.
            writable: whether the guest can write into it.
        """
        self._memory = memory
        self._vtl = vtl
        self._refuse_reserved = refuse_reserved
        self._without_os_id = without_os_id
        self._writable = writable
        self._overlay: OverlayPage | None = None
        self.guest_os_id = 0
        self.value = 0
        self.enabled = False

    @property
    def page(self) -> int | None:
        """The guest-physical page number of the page, or None while it is not enabled."""
        return self.value >> 12 if self.value & ENABLE else None

    def write_guest_os_id(self, value: int) -> None:
        """Write GUEST_OS_ID; zero disables the page, except where that does not need an id."""
        self.guest_os_id = value
        needed = self._without_os_id is not PageWithoutOsId.ENABLED
        if needed and not value and self.value & ENABLE:
            self.value &= ~ENABLE
            self._place()

    def write(self, value: int, *, lockable: bool) -> None:
        """Write HYPERCALL.

        While GUEST_OS_ID is zero the enable bit stays clear, or as the partition's reading is.

        Args:
            value: the 64-bit value.
            lockable: the partition has the lock bit; otherwise it reads as zero.

        Raises:
            GeneralProtection: the register is locked, or the page lies beyond the guest-physical
                address space.
        """
        if self.value & LOCKED or value >> 12 >= self._memory.page_limit:
            raise GeneralProtection
        if value & _RESERVED and self._refuse_reserved:
            raise GeneralProtection
        if not lockable:
            value &= ~LOCKED
        if not self.guest_os_id:
            if self._without_os_id is PageWithoutOsId.WRITE_DROPPED:
                return
            if self._without_os_id is PageWithoutOsId.DISABLED:
                value &= ~ENABLE
        self.value = value
        self._place()

    def reset(self) -> None:
        """Disable and unlock the page."""
        self.guest_os_id = 0
        self.value = 0
        self.enabled = False
        if self._overlay is not None:
            self._memory.release_overlay(self._overlay)
            self._overlay = None

    def _place(self) -> None:
        overlay = self._overlay
        self.enabled = bool(self.value & ENABLE)
        if not self.enabled:
            if overlay is not None:
                self._memory.unmap_overlay(overlay)
            return
        if overlay is None:
            overlay = self._overlay = self._memory.new_overlay(CONTENT, _BREAKPOINT)
        page = self.value >> 12
        if overlay.page != page:
            permissions = ALL_PERMISSIONS if self._writable else READ_EXECUTE
            self._memory.map_overlay(self._vtl, page, permissions, overlay)
