"""What a virtual address of a processor means: HvCallTranslateVirtualAddress without the call."""

from typing import TYPE_CHECKING, NamedTuple

from hypercall.partition.memory import PAGE_SIZE, Permission
from hypercall.partition.nested_formats import NestedAccess
from hypercall.partition.nested_translation import NestedFault, NestedFaultKind
from hypercall.partition.page_walk import PageWalk, PagingRegisters, WalkFault, walk
from hypercall.tlfs.call_flags import CacheType, TranslateGvaFlags, TranslateGvaResultCode
from hypercall.tlfs.registers import RegisterName

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

_F = TranslateGvaFlags
_C = TranslateGvaResultCode
_R = RegisterName

_CR0_WRITE_PROTECT = 1 << 16
_CR4_SMEP = 1 << 20
_CR4_SMAP = 1 << 21
_ALIGNMENT_CHECK = 1 << 18
_SELECTOR_SHIFT = 96
_USER_LEVEL = 3
_CACHE_TYPES = frozenset(int(each) for each in CacheType)


class GvaTranslation(NamedTuple):
    """The answer.

    Attributes:
        code: SUCCESS, or why there is none.
        gpa_page: the guest-physical page number; 0 without success.
        cache_type: the memory type that IA32_PAT gives the page; write-back without paging.
        overlay: an overlay page of the VTL lies there.
    """

    code: TranslateGvaResultCode
    gpa_page: int = 0
    cache_type: CacheType = CacheType.UNCACHED
    overlay: bool = False


def translate(
    state: "VirtualProcessorVtl", address: int, flags: TranslateGvaFlags
) -> GvaTranslation:
    """Translate a virtual address by the page tables and the mode of a VTL of a processor.

    While the processor runs a nested guest (`NestedTranslation.run`), what its tables give are
    that guest's physical addresses, and its second-level tables translate them further.

    Args:
        state: the VTL of the virtual processor.
        address: the virtual address, 64 bits.
        flags: which accesses must be allowed, with which privilege, and whether accessed and
            dirty bits are set, which happens for a translation that succeeds.
    """
    translator = _Translator(state)
    try:
        return translator.translate(address, flags)
    except WalkFault as fault:
        return GvaTranslation(fault.code)


class _Translator:
    """One translation."""

    def __init__(self, state: "VirtualProcessorVtl") -> None:
        self._state = state
        self._partition = state.partition
        self._memory = state.partition.memory
        self._nested_root = state.partition.nested.running(state.vp.index, state.vtl)
        self._registers = PagingRegisters(
            self._register(_R.CR0),
            self._register(_R.CR3),
            self._register(_R.CR4),
            self._register(_R.EFER),
            self._memory.address_bits,
        )

    def _register(self, name: RegisterName) -> int:
        return self._partition.effects.read_register(self._state.vp, self._state.vtl, name)

    def translate(self, address: int, flags: TranslateGvaFlags) -> GvaTranslation:
        found = walk(self._registers, address, self._read_entry)
        user = self._is_user(flags)
        self._check_rights(found, flags, user=user)
        gpa = self._physical(found.address, _nested_access(flags))
        self._check_page(gpa, self._needed(flags, user=user))
        if flags & _F.SET_PAGE_TABLE_BITS:
            self._mark(found, written=bool(flags & _F.VALIDATE_WRITE))
        page = gpa // PAGE_SIZE
        return GvaTranslation(
            _C.SUCCESS,
            page,
            self._cache_type(found.pat_index),
            self._memory.has_overlay(page, self._state.vtl),
        )

    # --- rights by the page tables -----------------------------------------------------------

    def _is_user(self, flags: TranslateGvaFlags) -> bool:
        if flags & (_F.SUPERVISOR_ACCESS | _F.PRIVILEGE_EXEMPT):
            return False
        if flags & _F.USER_ACCESS:
            return True
        return self._register(_R.CS) >> _SELECTOR_SHIFT & 3 == _USER_LEVEL

    def _check_rights(self, found: PageWalk, flags: TranslateGvaFlags, *, user: bool) -> None:
        reads, writes = flags & _F.VALIDATE_READ, flags & _F.VALIDATE_WRITE
        fetches = flags & _F.VALIDATE_EXECUTE
        if found.pat_index is None or not (reads or writes or fetches):
            return
        allowed = not (fetches and not found.executable)
        if writes and not found.writable:
            allowed = allowed and not user and not self._registers.cr0 & _CR0_WRITE_PROTECT
        if user:
            allowed = allowed and found.user
        elif found.user and not flags & _F.PRIVILEGE_EXEMPT:
            if fetches and self._registers.cr4 & _CR4_SMEP:
                allowed = False
            if (reads or writes) and self._smap(flags):
                allowed = False
        if not allowed:
            raise WalkFault(_C.PRIVILEGE_VIOLATION)

    def _smap(self, flags: TranslateGvaFlags) -> bool:
        """Return whether SMAP keeps supervisors from the data of users."""
        if not self._registers.cr4 & _CR4_SMAP or flags & _F.OVERRIDE_SMAP:
            return False
        return bool(flags & _F.ENFORCE_SMAP) or not self._register(_R.RFLAGS) & _ALIGNMENT_CHECK

    def _needed(self, flags: TranslateGvaFlags, *, user: bool) -> int:
        """Return the bits of `Permission` that the accesses need."""
        needed = 0
        if flags & _F.VALIDATE_READ:
            needed |= Permission.READ
        if flags & _F.VALIDATE_WRITE:
            needed |= Permission.WRITE
        if flags & _F.VALIDATE_EXECUTE:
            by_user = (
                user
                and self._registers.cr4 & _CR4_SMEP
                and self._partition.vsm.mbec_enabled(self._state.vp, self._state.vtl)
            )
            needed |= Permission.USER_EXECUTE if by_user else Permission.KERNEL_EXECUTE
        return needed

    def _cache_type(self, pat_index: int | None) -> CacheType:
        if pat_index is None:
            return CacheType.WRITE_BACK
        kind = self._register(_R.PAT) >> 8 * pat_index & 7
        # UC- is no type of its own in HV_CACHE_TYPE.
        return CacheType(kind) if kind in _CACHE_TYPES else CacheType.UNCACHED

    # --- physical memory ---------------------------------------------------------------------

    def _physical(self, address: int, access: NestedAccess) -> int:
        """Return the partition's address of a physical address of what the processor runs."""
        if self._nested_root is None:
            return address
        nested = self._partition.nested
        try:
            return nested.translate(
                self._nested_root, address, access, vp_index=self._state.vp.index
            )
        except NestedFault as fault:
            inaccessible = fault.kind is NestedFaultKind.TABLE_INACCESSIBLE
            raise WalkFault(_C.GPA_UNMAPPED if inaccessible else _C.INTERCEPT) from None

    def _read_entry(self, address: int, size: int) -> int:
        gpa = self._physical(address, NestedAccess.READ)
        self._check_page(gpa, Permission.READ)
        return int.from_bytes(self._memory.read(gpa, size, self._state.vtl), "little")

    def _mark(self, found: PageWalk, *, written: bool) -> None:
        places = []
        for entry in found.used:
            if entry.marked(written=written) != entry.value:
                gpa = self._physical(entry.gpa, NestedAccess.READ | NestedAccess.WRITE)
                self._check_page(gpa, Permission.WRITE)
                places.append((gpa, entry))
        for gpa, entry in places:
            value = entry.marked(written=written)
            self._memory.write(gpa, value.to_bytes(entry.size, "little"), self._state.vtl)

    def _check_page(self, gpa: int, needed: int) -> None:
        """Check that the VTL may do something with a page of the partition.

        Raises:
            WalkFault: it may not: GPA_UNMAPPED, GPA_ILLEGAL_OVERLAY_ACCESS, GPA_NO_READ_ACCESS,
                GPA_NO_WRITE_ACCESS, or INTERCEPT where a higher VTL forbids it.
        """
        page, vtl = gpa // PAGE_SIZE, self._state.vtl
        resolution = self._memory.resolve(page, vtl)
        if resolution is None:
            raise WalkFault(_C.GPA_UNMAPPED)
        missing = needed & ~resolution.permissions
        if not missing:
            return
        if self._memory.has_overlay(page, vtl):
            raise WalkFault(_C.GPA_ILLEGAL_OVERLAY_ACCESS)
        by_host = missing & ~self._memory.host_permissions(page)
        if by_host:
            only_writes = not by_host & ~Permission.WRITE
            raise WalkFault(_C.GPA_NO_WRITE_ACCESS if only_writes else _C.GPA_NO_READ_ACCESS)
        raise WalkFault(_C.INTERCEPT)


def _nested_access(flags: TranslateGvaFlags) -> NestedAccess:
    access = NestedAccess(0)
    if flags & _F.VALIDATE_READ:
        access |= NestedAccess.READ
    if flags & _F.VALIDATE_WRITE:
        access |= NestedAccess.WRITE
    if flags & _F.VALIDATE_EXECUTE:
        access |= NestedAccess.EXECUTE
    return access or NestedAccess.READ
