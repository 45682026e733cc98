# The walk of the guest's paging structures.


cdef class Walker(Memory):
    """Finds what the guest's own tables give for an address."""

    def translate(self, int context, uint64_t address):
        """The guest-physical address of a guest-virtual one by the guest's tables, or None."""
        cdef uint64_t gpa = 0, size = 0
        cdef int protection = 0, error = 0
        cdef uint8_t *env = self.context_env(context)
        cdef uint64_t *saved = self.table
        cdef int walked
        self.table = self.tables[self.contexts[context].table]
        walked = self.walk(env, address, 0, 2, False, &gpa, &protection, &size, &error)
        self.table = saved
        return gpa if walked == 0 else None

    cdef inline uint64_t *paging_entry(self, uint64_t gpa):
        # Where a paging-structure entry lies in host memory; NULL where there is no memory.
        cdef uint64_t page = gpa >> 12
        cdef uint64_t entry
        if page < self.table_pages:
            entry = self.table[page]
        else:
            entry = self.lookup(gpa)
        self.structure_access = entry & 3
        if entry & ENTRY_DEVICE:
            return NULL
        entry &= ENTRY_ADDRESS
        if entry < self.ram_size:
            return <uint64_t *>(self.ram + entry + (gpa & 0xFFF))
        return <uint64_t *>(self.arena + (entry - ARENA_BASE) + (gpa & 0xFFF))

    cdef inline void mark_written(self, uint64_t *pointer):
        cdef uint64_t offset = <uint64_t>pointer - <uint64_t>self.ram
        if offset < self.ram_size:
            self.pages[offset >> 12] |= PAGE_WRITTEN

    cdef int walk(self, uint8_t *env, uint64_t address, int access, int mode, bint mark,
                  uint64_t *gpa, int *protection, uint64_t *size, int *error):
        # Walks the guest's paging structures. Returns 0, or the vector of the exception with its
        # error code. `access` is 0 read, 1 write, 2 fetch; with `mark`, accessed and dirty bits
        # are set as the processor does, and the table decides about the accesses to the paging
        # structures: WALK_REFUSED says that it refuses one.
        cdef uint64_t cr0 = u64(env, ENV_CR)[0]
        cdef uint64_t cr3 = u64(env, ENV_CR + 24)[0]
        cdef uint64_t cr4 = u64(env, ENV_CR + 32)[0]
        cdef uint64_t efer = u64(env, ENV_EFER)[0]
        cdef bint long_mode = (u32(env, ENV_HFLAGS)[0] & HF_LMA) != 0
        cdef bint user = mode == MMU_USER
        cdef bint no_execute = (efer & 0x800) != 0
        cdef uint64_t reserved = 0x000FFF0000000000ULL  # bits 51:40, above the 40 implemented
        cdef uint64_t *slot
        cdef uint64_t value = 0
        cdef uint64_t rights = 6  # user and write, taken together over the levels
        cdef bint execute_disabled = False
        cdef uint64_t table, at
        cdef int level, shift, allowed
        cdef uint64_t page_size
        cdef bint dirty
        error[0] = 0
        if not cr0 & 0x80000000ULL:
            gpa[0] = address if long_mode else address & 0xFFFFFFFFULL
            protection[0] = 7
            size[0] = PAGE
            return 0
        if cr4 & 0x20:
            if not no_execute:
                reserved |= <uint64_t>1 << 63
            if long_mode:
                if <int64_t>(address << 16) >> 16 != <int64_t>address:
                    error[0] = 0
                    return 13
                table = cr3 & 0x000FFFFFFFFFF000ULL
                level = 3
            else:
                address &= 0xFFFFFFFFULL
                at = (cr3 & 0xFFFFFFE0ULL) + ((address >> 27) & 0x18)
                slot = self.paging_entry(at)
                if mark and not self.structure_access & 1:
                    return self.refuse_structure(at, 0)
                value = slot[0] if slot != NULL else 0
                if not value & 1:
                    return self.page_fault(error, access, user, 0, efer, cr4)
                if value & (reserved | 0x7FF00000000001E6ULL):
                    return self.page_fault(error, access, user, 9, efer, cr4)
                table = value & 0x000FFFFFFFFFF000ULL
                level = 1
            while True:
                shift = 12 + 9 * level
                at = table + (((address >> shift) & 0x1FF) << 3)
                slot = self.paging_entry(at)
                if mark and not self.structure_access & 1:
                    return self.refuse_structure(at, 0)
                value = slot[0] if slot != NULL else 0
                if not value & 1:
                    return self.page_fault(error, access, user, 0, efer, cr4)
                if value & reserved or (level == 3 and value & 0x80):
                    return self.page_fault(error, access, user, 9, efer, cr4)
                rights &= value
                if value >> 63:
                    execute_disabled = True
                page_size = <uint64_t>1 << shift
                if level == 0 or (value & 0x80 and level < 3):
                    break
                if mark and not value & 0x20:
                    if not self.structure_access & 2:
                        return self.refuse_structure(at, 1)
                    slot[0] = value | 0x20
                    self.mark_written(slot)
                table = value & 0x000FFFFFFFFFF000ULL
                level -= 1
            if level and value & (page_size - 1) & 0x000FFFFFFFFFE000ULL:
                return self.page_fault(error, access, user, 9, efer, cr4)
            gpa[0] = (value & 0x000FFFFFFFFFF000ULL & ~(page_size - 1)) | (address & (page_size - 1))
        else:
            address &= 0xFFFFFFFFULL
            at = (cr3 & 0xFFFFF000ULL) + ((address >> 20) & 0xFFC)
            slot = self.paging_entry(at)
            if mark and not self.structure_access & 1:
                return self.refuse_structure(at, 0)
            value = u32(slot, 0)[0] if slot != NULL else 0
            if not value & 1:
                return self.page_fault(error, access, user, 0, efer, cr4)
            rights &= value
            page_size = PAGE
            if value & 0x80 and cr4 & 0x10:
                page_size = 4 << 20
                if value & 0x200000:
                    return self.page_fault(error, access, user, 9, efer, cr4)
                gpa[0] = (
                    (value & 0xFFC00000ULL) | ((value & 0x1FE000) << 19) | (address & 0x3FFFFF)
                )
            else:
                if mark and not value & 0x20:
                    if not self.structure_access & 2:
                        return self.refuse_structure(at, 1)
                    u32(slot, 0)[0] = <uint32_t>value | 0x20
                    self.mark_written(slot)
                at = (value & 0xFFFFF000ULL) + ((address >> 10) & 0xFFC)
                slot = self.paging_entry(at)
                if mark and not self.structure_access & 1:
                    return self.refuse_structure(at, 0)
                value = u32(slot, 0)[0] if slot != NULL else 0
                if not value & 1:
                    return self.page_fault(error, access, user, 0, efer, cr4)
                rights &= value
                gpa[0] = (value & 0xFFFFF000ULL) | (address & 0xFFF)
        size[0] = page_size
        if user and not rights & 4:
            return self.page_fault(error, access, user, 1, efer, cr4)
        allowed = 0
        if mode != MMU_KERNEL_SMAP or not rights & 4:
            allowed = 1
            if rights & 2 or (not user and not cr0 & 0x10000):
                allowed |= 2
        if not execute_disabled and (user or not (cr4 & 0x100000 and rights & 4)):
            allowed |= 4
        if not allowed & (1 << access):
            return self.page_fault(error, access, user, 1, efer, cr4)
        dirty = (value & 0x40) != 0
        if mark and (not value & 0x20 or (access == 1 and not dirty)):
            if not self.structure_access & 2:
                return self.refuse_structure(at, 1)
            value |= 0x20 | (0x40 if access == 1 else 0)
            dirty = (value & 0x40) != 0
            if cr4 & 0x20:
                slot[0] = value
            else:
                u32(slot, 0)[0] = <uint32_t>value
            self.mark_written(slot)
        if not dirty:
            allowed &= ~2
        if value & 0x100 and cr4 & 0x80:
            allowed |= PROTECTION_GLOBAL
        protection[0] = allowed
        return 0

    cdef int refuse_structure(self, uint64_t gpa, int access):
        self.refused_gpa = gpa
        self.refused_access = access
        return WALK_REFUSED

    cdef int page_fault(self, int *error, int access, bint user, int code, uint64_t efer,
                        uint64_t cr4):
        if access == 1:
            code |= 2
        if user:
            code |= 4
        if access == 2 and ((efer & 0x800 and cr4 & 0x20) or cr4 & 0x100000):
            code |= 16
        error[0] = code
        return 14

    cdef bint agrees(self, uint8_t *env, int mode, uint64_t page, uint8_t *entry):
        # Whether a walk gives what a TLB entry of RAM has, with all its rights.
        cdef uint64_t gpa = 0, size = 0
        cdef int protection = 0, error = 0, access
        for access in range(3):
            if not grants(entry, access):
                continue
            if self.walk(env, page, access, mode, False, &gpa, &protection, &size, &error):
                return False
            if gpa >> 12 >= self.table_pages:
                return False
            if self.table[gpa >> 12] & ENTRY_ADDRESS != u64(entry, ENTRY_PHYSICAL)[0]:
                return False
        return True
