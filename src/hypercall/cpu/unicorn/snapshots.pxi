# The state of the engine as plain values, and back.
#
# What is saved depends on no address of the host: the TLBs, which hold such addresses, are saved
# with offsets in RAM and in the overlay pages instead. RAM itself is not in it.


cdef class Saved(Strangers):
    """Saving and restoring what the engine knows."""

    @property
    def ram_address(self):
        """Where the guest's RAM lies in this process."""
        return <uint64_t>self.ram

    @property
    def arena_address(self):
        """Where the overlay pages lie in this process."""
        return <uint64_t>self.arena

    def save(self):
        """Everything but the content of memory, as a dictionary of numbers and bytes.

        Only between runs. A list of dictionaries has the contexts: ``state`` with the registers,
        ``fields`` with what the engine knows besides, ``tlb`` with the translations.
        """
        cdef int index
        self.park()
        contexts = []
        for index in range(self.context_count):
            contexts.append({
                "state": state_without_breakpoints(self.contexts[index].state),
                "fields": (<char *>&self.contexts[index].interrupt_request)[:context_field_size()],
                "tlb": self.save_tlb(self.contexts[index].tlb),
            })
        return {
            "count": self.progress.count,
            "skew": self.skew,
            "factor": self.factor,
            "current": self.current,
            "delivers_again": bool(self.delivers_again),
            # The rest of a block in whose middle a debugger has stopped the run.
            "rest_of_block": (
                self.debug.paid_next, self.debug.paid_end, bool(self.debug.held),
                self.debug.block_end, self.debug.block_count,
            ),
            "statistics": (<char *>&self.statistics)[:sizeof(Statistics)],
            "tables": [
                (<char *>self.tables[index])[:self.table_pages * 8]
                for index in range(self.table_count)
            ],
            "pages": (<char *>self.pages)[:self.ram_size // PAGE],
            "stores": (<char *>self.stores)[:self.ram_size // PAGE],
            "msr_map": (<char *>self.msr_map)[:3 * PAGE],
            "contexts": contexts,
        }

    def restore(self, dict saved, bint own):
        """Goes back to what ``save`` returned. Only between runs, with memory already back.

        Args:
            saved: what ``save`` returned, of this engine or of one with as much memory.
            own: whether it was this engine; another one's state is made safe first.

        Raises:
            ValueError: it is of an engine of another kind or size, or damaged.
        """
        cdef int index
        cdef bytes state, fields, tlb
        cdef const uint8_t *source
        self.check_sizes(saved)
        if not own:
            saved = self.made_safe(saved)
        self.park()
        self.drop_all_breakpoints()
        while self.context_count < len(saved["contexts"]):
            self.add_context(0)
        while self.context_count > len(saved["contexts"]):
            self.drop_last_context()
        for index in range(self.context_count):
            state = saved["contexts"][index]["state"]
            fields = saved["contexts"][index]["fields"]
            tlb = saved["contexts"][index]["tlb"]
            source = state
            memcpy(self.contexts[index].state, source, CONTEXT_SIZE)
            if self.audits:
                # They may have begun later.
                intercept_flushes(self.contexts[index].state)
            source = fields
            memcpy(&self.contexts[index].interrupt_request, source, context_field_size())
            memset(self.contexts[index].state + ENV_BREAKPOINTS, 0, BREAKPOINTS * 8)
            self.restore_tlb(self.contexts[index].tlb, tlb)
        for index in range(self.table_count):
            state = saved["tables"][index]
            source = state
            memcpy(self.tables[index], source, self.table_pages * 8)
        state = saved["msr_map"]
        source = state
        memcpy(self.msr_map, source, 3 * PAGE)
        state = saved["statistics"]
        source = state
        memcpy(&self.statistics, source, sizeof(Statistics))
        self.restore_pages(saved["pages"], saved["stores"], own)
        self.progress.count = saved["count"]
        self.skew = saved["skew"]
        self.factor = saved["factor"]
        self.delivers_again = saved["delivers_again"]
        self.restore_breakpoints()
        self.load(saved["current"])
        rest, end, held, block_end, block_count = saved["rest_of_block"]
        self.debug.paid_next = rest
        self.debug.paid_end = end
        self.debug.held = held
        self.debug.block_end = block_end
        self.debug.block_count = block_count

    def replace_memory(self, str backing, uint64_t offset, const uint8_t[::1] data):
        """Puts bytes into memory without taking note that the guest or the host wrote them.

        Args:
            backing: ``"ram"`` or ``"arena"``.
            offset: where; a multiple of the page size.
            data: whole pages. Code that was translated from pages that differ is dropped.

        Raises:
            ValueError: that is not within the buffer.
        """
        cdef uint64_t length = data.shape[0], at = 0, block
        cdef bint is_ram = backing == "ram"
        cdef uint64_t size = self.ram_size if is_ram else self.arena_size
        cdef uint8_t *target = self.ram if is_ram else self.arena
        if offset % PAGE or length % PAGE or offset > size or length > size - offset:
            raise ValueError("not whole pages within the buffer")
        block = 0 if is_ram else (self.ram_size + 64 * PAGE - 1) & ~<uint64_t>(64 * PAGE - 1)
        while at < length:
            if (not is_ram or self.pages[(offset + at) >> 12] & PAGE_HAS_CODE) and memcmp(
                target + offset + at, &data[at], PAGE
            ):
                tb_invalidate_phys_range_x86_64(
                    self.uc, block + offset + at, block + offset + at + PAGE
                )
            at += PAGE
        if length:
            memcpy(target + offset, &data[0], length)

    cdef void park(self):
        # Writes the loaded context back to where the others are.
        cdef Context *context = self.contexts[self.current]
        join_flags(self.env, False)
        memcpy(context.state, self.env, CONTEXT_SIZE)
        memcpy(context.tlb, self.cs + CS_TLB, TLB_SIZE)
        context.interrupt_request = u32(self.cs, CS_INTERRUPT_REQUEST)[0]

    cdef void drop_last_context(self):
        cdef Context *context = self.contexts[self.context_count - 1]
        if self.current == self.context_count - 1:
            self.load(0)
        drop_breakpoints(self.cs, context.state)
        free_tlb(context.tlb)
        free(context.state)
        free(context.tlb)
        free(context)
        self.context_count -= 1

    cdef check_sizes(self, dict saved):
        pages = self.ram_size // PAGE
        contexts = saved["contexts"]
        if (
            len(saved["tables"]) != self.table_count
            or any(len(table) != self.table_pages * 8 for table in saved["tables"])
            or len(saved["pages"]) != pages
            or len(saved["stores"]) != pages
            or len(saved["msr_map"]) != 3 * PAGE
            or len(saved["statistics"]) != sizeof(Statistics)
            or not 0 <= saved["current"] < len(contexts)
            or saved["factor"] < 1
        ):
            raise ValueError("it is of an engine of another size")
        for context in contexts:
            if (
                len(context["state"]) != CONTEXT_SIZE
                or len(context["fields"]) != context_field_size()
                or len(context["tlb"]) < TLB_SIZE
            ):
                raise ValueError("it is of an engine of another kind")

    cdef resize_tlb(self, uint8_t *tlb, int mode, uint64_t count, uint8_t **entries,
                    uint8_t **places):
        cdef uint8_t *descriptor = tlb + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE
        cdef uint8_t *new_entries = <uint8_t *>malloc(count * ENTRY_SIZE)
        cdef uint8_t *new_places = <uint8_t *>malloc(count * IOTLB_SIZE)
        if new_entries == NULL or new_places == NULL:
            free(new_entries)
            free(new_places)
            raise MemoryError
        free(entries[0])
        free(places[0])
        entries[0] = new_entries
        places[0] = new_places
        # Whoever is interrupted by a further table that cannot be had leaves a whole one.
        memset(new_entries, 0xFF, count * ENTRY_SIZE)
        u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0] = (count - 1) << ENTRY_SHIFT
        u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0] = <uint64_t>new_entries
        u64(descriptor, DESCRIPTOR_IOTLB)[0] = <uint64_t>new_places

    cdef void drop_all_breakpoints(self):
        # What the library has made of debug registers; the context that is loaded is parked.
        cdef int index
        for index in range(self.context_count):
            drop_breakpoints(self.cs, self.contexts[index].state)
        memset(self.env + ENV_BREAKPOINTS, 0, BREAKPOINTS * 8)

    cdef void restore_breakpoints(self):
        # The library makes them anew for each context whose registers ask for them.
        cdef int index
        cdef uint64_t controls
        for index in range(self.context_count):
            controls = u64(self.contexts[index].state, ENV_DR + 56)[0]
            if controls & BREAKPOINTS_ENABLED:
                memcpy(self.env, self.contexts[index].state, CONTEXT_SIZE)
                u64(self.env, ENV_DR + 56)[0] = BREAKPOINTS_OFF
                cpu_x86_update_dr7_x86_64(self.env, <uint32_t>controls)
                memcpy(
                    self.contexts[index].state + ENV_BREAKPOINTS, self.env + ENV_BREAKPOINTS,
                    BREAKPOINTS * 8,
                )

    cdef restore_pages(self, const uint8_t[::1] pages, const uint8_t[::1] stores, bint own):
        cdef uint64_t page
        for page in range(self.ram_size // PAGE):
            if self.pages[page] & PAGE_HAS_CODE and not pages[page] & PAGE_HAS_CODE:
                tb_invalidate_phys_range_x86_64(self.uc, page * PAGE, (page + 1) * PAGE)
        memcpy(self.pages, &pages[0], self.ram_size // PAGE)
        memcpy(self.stores, &stores[0], self.ram_size // PAGE)
        if not own:
            for page in range(self.ram_size // PAGE):
                self.pages[page] &= ~PAGE_WATCHED

    cdef bytes save_tlb(self, uint8_t *tlb):
        cdef uint8_t fixed[TLB_SIZE]
        cdef uint8_t record[SAVED_ENTRY]
        cdef int mode, victim
        cdef uint64_t index, count
        cdef uint8_t *descriptor
        cdef uint8_t *entry
        cdef uint8_t *places
        memcpy(fixed, tlb, TLB_SIZE)
        rest = bytearray()
        for mode in range(TLB_MODES):
            descriptor = fixed + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE
            for victim in range(TLB_VICTIMS):
                self.detach(descriptor + TLB_DESCRIPTOR_VICTIMS + victim * ENTRY_SIZE)
                # The last four bytes are padding, with whatever lay there.
                u32(descriptor, DESCRIPTOR_VICTIM_IOTLB + victim * IOTLB_SIZE + 12)[0] = 0
            places = <uint8_t *>(u64(descriptor, DESCRIPTOR_IOTLB)[0])
            u64(descriptor, DESCRIPTOR_IOTLB)[0] = 0
            count = (u64(fixed, TLB_FAST + mode * TLB_FAST_SIZE)[0] >> ENTRY_SHIFT) + 1
            entry = <uint8_t *>(u64(fixed, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
            u64(fixed, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0] = 0
            for index in range(count):
                if not is_empty(entry + index * ENTRY_SIZE):
                    u64(record, 0)[0] = <uint64_t>mode << 60 | index
                    memcpy(record + 8, entry + index * ENTRY_SIZE, ENTRY_SIZE)
                    self.detach(record + 8)
                    memcpy(record + 8 + ENTRY_SIZE, places + index * IOTLB_SIZE, IOTLB_SIZE)
                    u32(record, 8 + ENTRY_SIZE + 12)[0] = 0
                    rest += (<char *>record)[:SAVED_ENTRY]
        return (<char *>fixed)[:TLB_SIZE] + bytes(rest)

    cdef restore_tlb(self, uint8_t *tlb, bytes saved):
        cdef const uint8_t *source = saved
        cdef uint64_t length = len(saved), at = TLB_SIZE, index, count, mask
        cdef uint8_t fixed[TLB_SIZE]
        cdef uint8_t *descriptor
        cdef uint8_t *entries[TLB_MODES]
        cdef uint8_t *places[TLB_MODES]
        cdef uint8_t *entry
        cdef int mode, victim
        memcpy(fixed, source, TLB_SIZE)
        for mode in range(TLB_MODES):
            mask = u64(fixed, TLB_FAST + mode * TLB_FAST_SIZE)[0]
            count = (mask >> ENTRY_SHIFT) + 1
            if count > LARGEST_TLB or count & (count - 1) or mask & (ENTRY_SIZE - 1):
                raise ValueError("a TLB of it is damaged")
        for mode in range(TLB_MODES):
            descriptor = fixed + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE
            mask = u64(fixed, TLB_FAST + mode * TLB_FAST_SIZE)[0]
            count = (mask >> ENTRY_SHIFT) + 1
            entries[mode] = <uint8_t *>(u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
            places[mode] = <uint8_t *>(
                u64(tlb, TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + DESCRIPTOR_IOTLB)[0]
            )
            if mask != u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0]:
                self.resize_tlb(tlb, mode, count, &entries[mode], &places[mode])
            u64(fixed, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0] = <uint64_t>entries[mode]
            u64(descriptor, DESCRIPTOR_IOTLB)[0] = <uint64_t>places[mode]
            memset(entries[mode], 0xFF, count * ENTRY_SIZE)
            memset(places[mode], 0, count * IOTLB_SIZE)
            for victim in range(TLB_VICTIMS):
                self.attach_entry(descriptor + TLB_DESCRIPTOR_VICTIMS + victim * ENTRY_SIZE)
        while at + SAVED_ENTRY <= length:
            index = u64(<void *>source, at)[0]
            mode = index >> 60
            index &= ~(<uint64_t>0xF << 60)
            if mode < TLB_MODES and index <= (
                u64(fixed, TLB_FAST + mode * TLB_FAST_SIZE)[0] >> ENTRY_SHIFT
            ):
                entry = entries[mode] + index * ENTRY_SIZE
                memcpy(entry, source + at + 8, ENTRY_SIZE)
                self.attach_entry(entry)
                memcpy(places[mode] + index * IOTLB_SIZE, source + at + 8 + ENTRY_SIZE, IOTLB_SIZE)
            at += SAVED_ENTRY
        memcpy(tlb, fixed, TLB_SIZE)

    cdef void detach(self, uint8_t *entry):
        # Replaces the host's address in a TLB entry by what can be saved.
        cdef uint64_t host
        if is_empty(entry):
            return
        host = u64(entry, ENTRY_ADDEND)[0] + page_of(entry)
        if host - <uint64_t>self.ram < self.ram_size:
            u64(entry, ENTRY_ADDEND)[0] = (host - <uint64_t>self.ram) | SAVED_IN_RAM
        elif host - <uint64_t>self.arena < self.arena_size:
            u64(entry, ENTRY_ADDEND)[0] = (host - <uint64_t>self.arena) | SAVED_IN_ARENA
        else:
            u64(entry, ENTRY_ADDEND)[0] = host | SAVED_ELSEWHERE

    cdef void attach_entry(self, uint8_t *entry):
        # Puts the host's address back; what is not within memory goes.
        cdef uint64_t saved, offset
        if is_empty(entry):
            return
        saved = u64(entry, ENTRY_ADDEND)[0]
        offset = saved & ~<uint64_t>0xFFF
        if saved & 0xFFF == SAVED_IN_RAM and offset < self.ram_size:
            offset += <uint64_t>self.ram
        elif saved & 0xFFF == SAVED_IN_ARENA and offset < self.arena_size:
            offset += <uint64_t>self.arena
        elif saved & 0xFFF != SAVED_ELSEWHERE:
            memset(entry, 0xFF, ENTRY_SIZE)
            return
        u64(entry, ENTRY_ADDEND)[0] = offset - page_of(entry)


cdef bytes state_without_breakpoints(uint8_t *state):
    # They are pointers, and follow from the debug registers.
    cdef uint8_t copied[CONTEXT_SIZE]
    memcpy(copied, state, CONTEXT_SIZE)
    memset(copied + ENV_BREAKPOINTS, 0, BREAKPOINTS * 8)
    return (<char *>copied)[:CONTEXT_SIZE]
