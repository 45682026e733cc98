# Guest-physical memory: a table for each VTL, and what is known of each page.


cdef class Memory:
    """The state of one engine, and what its guest sees as physical memory."""

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

    cdef uint64_t clock(self):
        # The virtual time; host time moves even where nothing runs.
        return self.progress.count * self.factor + self.skew

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
