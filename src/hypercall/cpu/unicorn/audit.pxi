# Looks for translations that are not what the guest's paging structures say any more.


cdef class Auditor(Contexts):
    """Compares the TLBs of all contexts with the guest's paging structures."""

    def start_audits(self, uint64_t patience):
        """Lets the exit ``stale_translation`` be called for uses of old translations.

        From now on INVLPG exits. ``audit`` is to be called now and then.

        Args:
            patience: for how many nanoseconds after an audit has found it an old translation may
                be used without being reported: the guest may be about to flush it.
        """
        cdef int index
        self.audits = True
        self.patience = patience
        for index in range(self.context_count):
            intercept_flushes(self.context_env(index))

    def audit(self):
        """Marks every translation of the TLBs that a walk would not give again."""
        cdef int index
        cdef uint64_t *saved = self.table
        for index in range(self.context_count):
            if not self.contexts[index].flush_all:
                self.table = self.tables[self.contexts[index].table]
                self.audit_context(index)
        self.table = saved

    def watch_page(self, uint64_t offset, bint on):
        """Lets reads of a page of RAM by guest code be told to the exit ``watched_read``.

        Only the first read by each entry of a TLB is told, until this is called again.

        Args:
            offset: byte offset of the page in RAM.
            on: whether they are told from now on.
        """
        cdef int index
        if offset >= self.ram_size:
            return
        if not on:
            self.pages[offset // PAGE] &= ~PAGE_WATCHED
            return
        if not self.audits:
            self.start_audits(NEVER)
        self.pages[offset // PAGE] |= PAGE_WATCHED
        for index in range(self.context_count):
            if mark_page(
                self.cs + CS_TLB if index == self.current else self.contexts[index].tlb,
                offset & ~<uint64_t>0xFFF,
            ):
                self.contexts[index].marks = True

    cdef void audit_context(self, int number):
        cdef Context *context = self.contexts[number]
        cdef uint8_t *env = self.context_env(number)
        cdef uint8_t *tlb = self.cs + CS_TLB if number == self.current else context.tlb
        cdef uint8_t *entry
        cdef uint64_t index, count, now = self.clock()
        cdef int mode
        context.marks = False
        for mode in range(TLB_MODES):
            count = (u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0] >> ENTRY_SHIFT) + 1
            entry = <uint8_t *>(u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
            for index in range(count + TLB_VICTIMS):
                if index == count:
                    entry = (
                        tlb + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_VICTIMS
                    )
                if u64(entry, ENTRY_PHYSICAL)[0] < self.ram_size:
                    self.audit_entry(context, env, mode, entry, now, number == self.current)
                entry += ENTRY_SIZE

    cdef void audit_entry(self, Context *context, uint8_t *env, int mode, uint8_t *entry,
                          uint64_t now, bint loaded):
        cdef uint64_t page = page_of(entry)
        cdef int access, index
        if page == NEVER or u64(entry, ENTRY_OWN)[0] & STALE_TOLD:
            return
        for index in range(context.pending):
            if context.pages[index] & ~<uint64_t>0xFFF == page:
                # It goes before it can be used, and its marks must be taken away for that.
                context.marks = context.marks or marks_of(entry) != 0
                return
        if self.agrees(env, mode, page, entry):
            unmark(entry)
            u64(entry, ENTRY_SINCE)[0] = 0
            return
        if u64(entry, ENTRY_SINCE)[0] == 0:
            u64(entry, ENTRY_SINCE)[0] = now + 1
            self.statistics.stale_entries += 1
        for access in range(3):
            if grants(entry, access):
                mark(entry, access)
                context.marks = True
        if loaded and marks_of(entry) & MARKED_CODE:
            # Blocks of the page are found by their addresses, without a look into the TLB.
            tb_flush_jmp_cache_x86_64(self.cs, page)


cdef bint mark_page(uint8_t *tlb, uint64_t backing) noexcept nogil:
    # Marks the loads and stores of all entries that lead to a page; returns whether there were any.
    cdef uint64_t index, count
    cdef uint8_t *entry
    cdef int mode, access
    cdef bint found = False
    for mode in range(TLB_MODES):
        count = (u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0] >> ENTRY_SHIFT) + 1
        entry = <uint8_t *>(u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
        for index in range(count + TLB_VICTIMS):
            if index == count:
                entry = (
                    tlb + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_VICTIMS
                )
            if u64(entry, ENTRY_PHYSICAL)[0] == backing:
                for access in range(2):
                    if grants(entry, access):
                        mark(entry, access)
                        found = True
            entry += ENTRY_SIZE
    return found


cdef void intercept_flushes(uint8_t *env) noexcept:
    u64(env, ENV_INTERCEPT)[0] |= <uint64_t>1 << (EXIT_INVLPG - 0x160)
