# Guest-physical tables, the walk of the guest's paging structures, and the TLB fill.


cdef class Translator:
    """The state of one engine, and its translation of guest addresses."""

    cdef uc_engine *uc
    cdef uint8_t *cs
    cdef uint8_t *env
    cdef uint8_t *ram
    cdef uint64_t ram_size
    cdef uint8_t *arena
    cdef uint64_t arena_size
    cdef uint8_t *private_pages
    cdef uint8_t *msr_map
    cdef bint in_violation
    # What the table allows with the paging structure looked at last, and what it has refused.
    cdef int structure_access
    cdef uint64_t refused_gpa
    cdef int refused_access
    # An abandoned delivery is to be made again when the run goes on.
    cdef bint delivers_again
    cdef int deferred
    cdef uint8_t *pages
    cdef uint8_t *stores
    cdef uint64_t **tables
    cdef int table_count
    cdef uint64_t table_pages
    cdef uint64_t *table
    cdef Context **contexts
    cdef int context_count
    cdef int current
    cdef bint running
    cdef bint within_instruction
    cdef bint abandoned
    cdef Progress progress
    cdef public bint spin_exits
    cdef public uint64_t skew
    cdef public uint64_t factor
    cdef public bint host_time
    cdef uint64_t host_epoch
    cdef Statistics statistics
    cdef object exits
    cdef object hypercall_exit
    cdef object read_msr_exit
    cdef object write_msr_exit
    cdef object read_port_exit
    cdef object write_port_exit
    cdef object read_device_exit
    cdef object write_device_exit
    cdef object failure
    cdef object buffers
    cdef list device_pages
    # Audits of translations: whether there are any, and how long one may be out of date.
    cdef bint audits
    cdef uint64_t patience


    def __cinit__(self):
        self.uc = NULL
        self.current = -1
        self.progress.count = 0
        self.progress.limit = 0
        self.progress.turn_limit = 0
        self.progress.break_in = False
        self.within_instruction = False
        self.factor = 1

    cdef Context *context_at(self, int number) except NULL:
        if number < 0 or number >= self.context_count:
            raise IndexError("no such context")
        return self.contexts[number]

    cdef uint64_t *table_at(self, int number) except NULL:
        if number < 0 or number >= self.table_count:
            raise IndexError("no such table")
        return self.tables[number]

    cdef uint8_t *context_env(self, int number) except NULL:
        if number == self.current:
            return self.env
        return self.context_at(number).state

    cdef inline bint is_entry(self, uint64_t entry):
        # Whether an entry of a table leads to memory or to a device that there is.
        cdef uint64_t address = entry & ENTRY_ADDRESS
        if entry & ENTRY_DEVICE:
            return (
                address == VOID_BASE
                or address - DEVICE_BASE < <uint64_t>len(self.device_pages) * PAGE
            )
        return address < self.ram_size or address - ARENA_BASE < self.arena_size

    cdef void limit_changed(self):
        self.progress.limit = (
            0 if self.progress.break_in or self.progress.armed else self.progress.turn_limit
        )

    cdef void fail(self, object error):
        # Keeps what an exit raised until the library has returned.
        if self.failure is None:
            self.failure = error
        self.end_run()

    cdef void end_run(self):
        # The library looks for such a request behind each memory access, and then goes back to
        # the beginning of the instruction. What has reached a device must not do so again.
        if self.within_instruction:
            self.progress.turn_limit = 0
            self.progress.limit = 0
        else:
            uc_emu_stop(self.uc)

    cdef void break_chain(self):
        # Lets the library look at the interrupt requests before the next block.
        if self.within_instruction:
            self.progress.break_in = True
            self.progress.limit = 0
        else:
            (<uint16_t *>(u64(self.cs, CS_ICOUNT_DECR)[0]))[1] = 0xFFFF

    def add_table(self, uint64_t pages):
        """Adds a VTL's table of ``pages`` pages, all unmapped; returns its number."""
        cdef uint64_t *table = <uint64_t *>malloc(pages * 8)
        cdef uint64_t page
        if table == NULL:
            raise MemoryError
        for page in range(pages):
            table[page] = VOID_BASE | ENTRY_DEVICE | ENTRY_ALL
        cdef uint64_t **grown = <uint64_t **>malloc((self.table_count + 1) * sizeof(void *))
        if self.table_count:
            memcpy(grown, self.tables, self.table_count * sizeof(void *))
            free(self.tables)
        grown[self.table_count] = table
        self.tables = grown
        self.table_pages = pages
        self.table_count += 1
        return self.table_count - 1

    def entry(self, str backing, uint64_t offset, unsigned int access):
        """A table entry.

        Args:
            backing: ``"ram"`` or ``"arena"``.
            offset: byte offset of the page in that buffer.
            access: bit 0 read, 1 write, 2 execute in kernel mode, 3 execute in user mode.
        """
        return (offset if backing == "ram" else ARENA_BASE + offset) | (access & ENTRY_ALL)

    @property
    def void_entry(self):
        """The entry of a page where nothing is: it reads as ones and forgets writes."""
        return VOID_BASE | ENTRY_DEVICE | ENTRY_ALL

    def set_entries(self, int table, uint64_t page, uint64_t pages, uint64_t entry):
        """Sets the entries of consecutive pages to consecutive backing pages; flushes nothing.

        Raises:
            IndexError: there is no such table.
            ValueError: a page lies neither in memory nor is it a device's.
        """
        cdef uint64_t index
        cdef uint64_t step = 0 if entry & ENTRY_DEVICE else PAGE
        cdef uint64_t *entries = self.table_at(table)
        for index in range(pages):
            if page + index < self.table_pages:
                if not self.is_entry(entry + index * step):
                    raise ValueError("no such page of memory")
                entries[page + index] = entry + index * step

    def get_entry(self, int table, uint64_t page):
        """The entry of one page, or None beyond the table."""
        if page >= self.table_pages:
            return None
        return self.table_at(table)[page]

    def host_wrote(self, str backing, uint64_t offset, uint64_t length):
        """Drops the code translated from bytes that the host has changed, and marks them."""
        cdef uint64_t first, last, page
        cdef uint64_t size = self.ram_size if backing == "ram" else self.arena_size
        if offset > size or length > size - offset:
            raise ValueError("not within the buffer")
        if length == 0:
            return
        if backing != "ram":
            # The library numbers its memory blocks from multiples of 64 pages.
            first = (self.ram_size + 64 * PAGE - 1) & ~<uint64_t>(64 * PAGE - 1)
            tb_invalidate_phys_range_x86_64(self.uc, first + offset, first + offset + length)
            return
        first = offset // PAGE
        last = (offset + length - 1) // PAGE
        for page in range(first, last + 1):
            if self.pages[page] & PAGE_HAS_CODE:
                tb_invalidate_phys_range_x86_64(self.uc, page * PAGE, (page + 1) * PAGE)
            self.pages[page] |= PAGE_WRITTEN

    def forget_written(self, uint64_t offset, uint64_t length):
        """Takes note that pages of RAM read as zero again, as if nothing had ever written them.

        The caller flushes every context, for entries of their TLBs may allow stores.
        """
        cdef uint64_t page
        if offset > self.ram_size or length > self.ram_size - offset:
            raise ValueError("not within RAM")
        for page in range(offset // PAGE, (offset + length) // PAGE):
            if self.pages[page] & PAGE_HAS_CODE:
                tb_invalidate_phys_range_x86_64(self.uc, page * PAGE, (page + 1) * PAGE)
            self.pages[page] = 0
            self.stores[page] = 0

    def written_pages(self):
        """One byte for each page of RAM: non-zero where it was ever written."""
        cdef uint64_t page
        result = bytearray(self.ram_size // PAGE)
        for page in range(self.ram_size // PAGE):
            result[page] = self.pages[page] & PAGE_WRITTEN
        return result

    def page_written(self, uint64_t offset):
        """Whether the page of RAM at a byte offset was ever written."""
        return offset < self.ram_size and (self.pages[offset // PAGE] & PAGE_WRITTEN) != 0

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

    cdef uint64_t lookup(self, uint64_t gpa):
        # The entry of the page that holds gpa. The guest's pages beyond the table are rare.
        cdef uint64_t page = gpa >> 12
        if page < self.table_pages:
            return self.table[page]
        cdef uint64_t entry
        try:
            entry = self.exits.resolve(page, self.contexts[self.current].table)
            if self.is_entry(entry):
                return entry
            raise HypercallError("a page of the guest is mapped to no page of memory")
        except BaseException as error:
            self.fail(error)
        return VOID_BASE | ENTRY_DEVICE | ENTRY_ALL

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

    cdef int fill(self, uint64_t address, int access, int mode, bint probe, uintptr_t back,
                  int *error):
        # Serves one miss of the engine's TLB. Returns 0, or the vector to be raised.
        cdef uint64_t gpa = 0, size = 0, entry, backing
        cdef int protection = 0, vector, granted
        cdef uint8_t state = 0
        cdef uint8_t *slot
        cdef bint is_global
        if self.contexts[self.current].marks and self.serve_marked(
            address, access, mode, probe, back
        ):
            return 0
        self.statistics.fills += 1
        while True:
            vector = self.walk(
                self.env, address, access, mode, True, &gpa, &protection, &size, error
            )
            if vector != WALK_REFUSED:
                break
            vector = self.refused(
                address, self.refused_gpa, self.refused_access, probe, back, error
            )
            if vector:
                return vector
        if vector:
            if vector == 14 and not probe:
                u64(self.env, ENV_CR + 16)[0] = address
            return vector
        while True:
            entry = self.lookup(gpa)
            if access == 2 and entry & ENTRY_DEVICE:
                # No code can come from there. An empty bus reads as ones, which are no opcode.
                error[0] = 0
                return 6
            granted = entry & 3
            if entry & (8 if mode == MMU_USER and self.user_execution_governs() else 4):
                granted |= 4
            if granted & (1 << access):
                break
            vector = self.refused(address, gpa, access, probe, back, error)
            if vector:
                return vector
        is_global = (protection & PROTECTION_GLOBAL) != 0
        protection &= granted
        if entry & ENTRY_DEVICE:
            protection &= ~4
        backing = entry & ENTRY_ADDRESS
        if backing < self.ram_size:
            state = self.pages[backing >> 12]
            if access == 2:
                if not state & PAGE_HAS_CODE:
                    self.pages[backing >> 12] = (state | PAGE_HAS_CODE) & ~PAGE_MAY_WRITE
                    if state & PAGE_MAY_WRITE:
                        self.drop_stale_rights(backing)
                    state = self.pages[backing >> 12]
                protection &= ~2
            elif access == 1:
                if state & PAGE_HAS_CODE:
                    self.stores[backing >> 12] += 1
                    if self.stores[backing >> 12] >= MANY_STORES and not self.block_is_in(
                        backing, back
                    ):
                        # Data is written where code was. Drops what was translated from it.
                        tb_invalidate_phys_range_x86_64(self.uc, backing, backing + PAGE)
                        self.statistics.code_pages_rewritten += 1
                        self.stores[backing >> 12] = 0
                        state &= ~PAGE_HAS_CODE
                        self.pages[backing >> 12] = state
                        self.drop_stale_rights(backing)
                state |= PAGE_WRITTEN
                if not state & PAGE_HAS_CODE:
                    state |= PAGE_MAY_WRITE
                    protection &= ~4
                self.pages[backing >> 12] = state
            else:
                if not state & PAGE_MAY_WRITE or state & PAGE_HAS_CODE:
                    protection &= ~2
                if not state & PAGE_HAS_CODE:
                    protection &= ~4
        if self.contexts[self.current].marks:
            unmark_page(self.cs, mode, address & ~<uint64_t>0xFFF)
        if state & PAGE_WATCHED and access == 0 and not probe:
            self.tell_read(address, backing, back)
        tlb_set_page_with_attrs_x86_64(
            self.cs, address & ~<uint64_t>0xFFF, backing, 0, protection, mode, size
        )
        slot = tlb_entry(self.cs, mode, address)
        self.remember_fill(mode, address, slot, is_global)
        if protection & 2 and backing < self.ram_size:
            if state & PAGE_HAS_CODE:
                # Every store comes here again, and the library drops the blocks that it hits.
                u64(slot, ENTRY_WRITE)[0] |= TLB_INVALID | TLB_NOTDIRTY
            else:
                # No code comes from this page, so its stores need not be watched.
                u64(slot, ENTRY_WRITE)[0] &= ~<uint64_t>TLB_NOTDIRTY
        return 0

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

    cdef uint64_t clock(self):
        # The virtual time; host time moves even where nothing runs.
        return self.progress.count * self.factor + self.skew

    cdef bint serve_marked(self, uint64_t address, int access, int mode, bint probe,
                           uintptr_t back):
        # Lets an access have the translation that it would have had without a mark.
        cdef uint64_t page = address & ~<uint64_t>0xFFF
        cdef uint8_t *entry = find_marked(self.cs, mode, page, access)
        cdef uint64_t since
        if entry == NULL:
            return False
        unmark(entry)
        since = u64(entry, ENTRY_SINCE)[0] - 1
        if probe:
            return True
        if access == 0 and self.pages[u64(entry, ENTRY_PHYSICAL)[0] >> 12] & PAGE_WATCHED:
            self.tell_read(address, u64(entry, ENTRY_PHYSICAL)[0], back)
        if u64(entry, ENTRY_SINCE)[0] == 0:
            return True
        if self.agrees(self.env, mode, page, entry):
            u64(entry, ENTRY_SINCE)[0] = 0
        elif self.clock() - since >= self.patience:
            u64(entry, ENTRY_OWN)[0] |= STALE_TOLD
            self.statistics.stale_uses += 1
            if back:
                cpu_restore_state_x86_64(self.cs, back, True)
            self.tell_stale(address, access, mode, u64(entry, ENTRY_PHYSICAL)[0], since)
        return True

    cdef void tell_read(self, uint64_t address, uint64_t backing, uintptr_t back):
        if back:
            cpu_restore_state_x86_64(self.cs, back, True)
        self.in_violation = True
        self.deferred = -1
        try:
            self.exits.watched_read(address, backing | (address & 0xFFF))
        except BaseException as failure:
            self.fail(failure)
        self.in_violation = False

    cdef void tell_stale(self, uint64_t address, int access, int mode, uint64_t backing,
                         uint64_t since):
        cdef uint64_t gpa = 0, size = 0
        cdef int protection = 0, error = 0
        cdef bint mapped = self.walk(
            self.env, address, access, mode, False, &gpa, &protection, &size, &error
        ) == 0
        # The registers of the running context are not to be exchanged in the middle of a block.
        self.in_violation = True
        self.deferred = -1
        try:
            self.exits.stale_translation(address, access, backing, gpa if mapped else None, since)
        except BaseException as failure:
            self.fail(failure)
        self.in_violation = False

    cdef inline bint user_execution_governs(self):
        return (
            self.contexts[self.current].user_execution and (u64(self.env, ENV_CR + 32)[0] & SMEP) != 0
        )

    cdef int refused(self, uint64_t address, uint64_t gpa, int access, bint probe, uintptr_t back,
                     int *error):
        # What becomes of an access that the table forbids: 0 to try again, or what is raised.
        cdef int verdict
        if probe:
            return 13
        self.statistics.violations += 1
        if back:
            cpu_restore_state_x86_64(self.cs, back, True)
        verdict = self.violation(address, gpa, access)
        if verdict == 1:
            error[0] = 0
            return 13
        return EXIT_ABANDON if verdict == 2 else 0

    cdef inline void remember_fill(self, int mode, uint64_t address, uint8_t *slot,
                                   bint is_global):
        cdef Context *context = self.contexts[self.current]
        context.fills += 1
        u64(slot, ENTRY_OWN)[0] = is_global
        u64(slot, ENTRY_SINCE)[0] = 0
        if is_global:
            return
        if context.local_count < LOCAL_FILLS:
            context.local[context.local_count] = <uint32_t>mode << 30 | <uint32_t>(
                (<uint64_t>slot - u64(self.cs, CS_TLB + TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
                >> ENTRY_SHIFT
            )
        context.local_count += 1

    cdef void write_cr3(self, uint64_t value):
        # Loads CR3 and drops the translations of pages that are not global. The library's own
        # way drops all, clears its whole table, and is most of what a context switch costs.
        cdef Context *context = self.contexts[self.current]
        cdef uint8_t *tlb = self.cs + CS_TLB
        cdef uint32_t index, slot_index
        cdef int mode, victim
        cdef uint8_t *entry
        if (
            not u64(self.env, ENV_CR + 32)[0] & 0x80
            or context.local_count > LOCAL_FILLS
            or context.fills > FILLS_BEFORE_FULL_FLUSH
        ):
            context.local_count = 0
            context.fills = 0
            keep_tlb_size(tlb)
            cpu_x86_update_cr3_x86_64(self.env, value)
            return
        u64(self.env, ENV_CR + 24)[0] = value
        for index in range(context.local_count):
            mode = context.local[index] >> 30
            slot_index = (context.local[index] & 0x3FFFFFFF) & <uint32_t>(
                u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0] >> ENTRY_SHIFT
            )
            entry = <uint8_t *>(u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
            entry += <uint64_t>slot_index << ENTRY_SHIFT
            if drop_local(self.cs, entry):
                u64(tlb, TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_USED)[0] -= 1
        for mode in range(TLB_MODES):
            entry = tlb + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_VICTIMS
            for victim in range(TLB_VICTIMS):
                drop_local(self.cs, entry)
                entry += ENTRY_SIZE
        context.local_count = 0

    cdef bint block_is_in(self, uint64_t backing, uintptr_t back):
        # Whether the block that is running was translated from the page at `backing`.
        cdef uint8_t *block
        if back == 0:
            return False
        block = <uint8_t *>tcg_tb_lookup_x86_64(<void *>(u64(self.uc, UC_TCG_CONTEXT)[0]), back)
        if block == NULL:
            return False
        return (
            u64(block, BLOCK_PAGES)[0] & ~<uint64_t>0xFFF == backing
            or u64(block, BLOCK_PAGES + 8)[0] & ~<uint64_t>0xFFF == backing
        )

    cdef int violation(self, uint64_t address, uint64_t gpa, int access):
        cdef int verdict = 1
        # The registers of the running context are not to be exchanged in the middle of a block.
        self.in_violation = True
        self.deferred = -1
        try:
            verdict = self.exits.memory_violation(address, gpa, access)
        except BaseException as error:
            self.fail(error)
        self.in_violation = False
        return verdict

    cdef void drop_stale_rights(self, uint64_t backing):
        # A page holds either code or data that is stored to: takes the other right from every
        # TLB entry of the page, now in the running context, at their next turn in the others.
        cdef int index
        sweep(self.cs + CS_TLB, self.pages, self.ram_size, backing)
        for index in range(self.context_count):
            if index != self.current:
                self.contexts[index].sweep = True
