# The TLB: what is put into it, and what a store, a fetch or a write of CR3 takes from it.


cdef class Translator(Walker):
    """Serves what the library's TLB does not have."""

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
