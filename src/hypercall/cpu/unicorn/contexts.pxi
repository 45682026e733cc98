# Contexts: adding, switching, flushing and reading them.


cdef class Contexts(Translator):
    """The worlds of the virtual processors, one of which is loaded at a time."""

    def add_context(self, int table):
        """Adds a context at reset state that sees guest-physical memory by a table.

        Returns:
            The number of the context.
        """
        self.table_at(table)
        cdef Context *context = <Context *>calloc(1, sizeof(Context))
        cdef uint8_t live[TLB_SIZE]
        context.state = <uint8_t *>malloc(CONTEXT_SIZE)
        context.tlb = <uint8_t *>calloc(1, TLB_SIZE)
        context.table = table
        context.injected = -1
        context.delivering = -1
        if self.context_count == 0:
            memcpy(context.state, self.env, CONTEXT_SIZE)
            prepare_state(context.state)
            memcpy(context.tlb, self.cs + CS_TLB, TLB_SIZE)
        else:
            memcpy(context.state, self.contexts[0].state, CONTEXT_SIZE)
            if self.current == 0:
                memcpy(context.state, self.env, CONTEXT_SIZE)
            # Those are the other one's own.
            memset(context.state + ENV_BREAKPOINTS, 0, BREAKPOINTS * 8)
            memcpy(live, self.cs + CS_TLB, TLB_SIZE)
            memset(self.cs + CS_TLB, 0, TLB_SIZE)
            tlb_init_x86_64(self.cs)
            memcpy(context.tlb, self.cs + CS_TLB, TLB_SIZE)
            memcpy(self.cs + CS_TLB, live, TLB_SIZE)
        cdef Context **grown = <Context **>malloc((self.context_count + 1) * sizeof(void *))
        if self.context_count:
            memcpy(grown, self.contexts, self.context_count * sizeof(void *))
            free(self.contexts)
        grown[self.context_count] = context
        self.contexts = grown
        self.context_count += 1
        self.reset_context(self.context_count - 1)
        if self.context_count == 1:
            self.load(0)
        return self.context_count - 1

    def reset_context(self, int number):
        """Puts a context's registers to what they are after INIT."""
        drop_breakpoints(self.cs, self.context_env(number))
        reset_state(self.context_env(number), self.spin_exits)
        if self.audits:
            intercept_flushes(self.context_env(number))
        self.contexts[number].interrupt_request = 0
        self.contexts[number].injected = -1
        self.contexts[number].delivering = -1
        if number == self.current:
            u32(self.cs, CS_INTERRUPT_REQUEST)[0] = 0
        self.flush(number)

    cdef void load(self, int number):
        cdef Context *context = self.contexts[number]
        cdef int index
        memcpy(self.env, context.state, CONTEXT_SIZE)
        if self.running:
            split_flags(self.env)
        memcpy(self.cs + CS_TLB, context.tlb, TLB_SIZE)
        u32(self.cs, CS_INTERRUPT_REQUEST)[0] = context.interrupt_request
        u32(self.cs, CS_HALTED)[0] = 0
        memset(self.cs + CS_JUMP_CACHE, 0, CS_JUMP_CACHE_SIZE)
        self.current = number
        self.progress.context = number
        self.progress.debug.paid_end = 0
        self.table = self.tables[context.table]
        keep_tlb_size(self.cs + CS_TLB)
        if context.flush_all:
            tlb_flush_x86_64(self.cs)
        else:
            for index in range(context.pending):
                flush_page(self.cs, context.marks, context.pages[index])
            if context.sweep:
                sweep(self.cs + CS_TLB, self.pages, self.ram_size, NEVER)
        context.flush_all = False
        context.pending = 0
        context.sweep = False

    def switch(self, int number):
        """Makes a context the running one.

        Allowed between runs, and in exits that say so; in the exit of a memory violation it
        takes effect when the instruction has been abandoned.
        """
        cdef Context *context
        if number < 0 or number >= self.context_count:
            raise IndexError("no such context")
        if self.in_violation:
            self.deferred = number
            return
        if number == self.current:
            return
        self.statistics.switches += 1
        if self.current >= 0:
            context = self.contexts[self.current]
            join_flags(self.env, self.running)
            memcpy(context.state, self.env, CONTEXT_SIZE)
            memcpy(context.tlb, self.cs + CS_TLB, TLB_SIZE)
            context.interrupt_request = u32(self.cs, CS_INTERRUPT_REQUEST)[0]
        self.load(number)

    def set_table(self, int number, int table):
        """Gives a context another table; its translations are dropped."""
        self.context_at(number).table = table
        if number == self.current:
            self.table = self.table_at(table)
        self.flush(number)

    @property
    def current_context(self):
        """Number of the context that is loaded."""
        return self.current

    def flush(self, int number):
        """Drops every translation of a context."""
        if number == self.current:
            tlb_flush_x86_64(self.cs)
        else:
            self.context_at(number).flush_all = True

    def flush_ranges(self, list numbers, tuple ranges):
        """Drops the translations of runs of pages of contexts.

        Args:
            numbers: the contexts.
            ranges: at most ``PENDING_FLUSHES`` of (first address, number of pages).
        """
        cdef uint64_t[PENDING_FLUSHES] addresses
        cdef uint64_t[PENDING_FLUSHES] counts
        cdef int count = len(ranges), index, number
        if count > PENDING_FLUSHES:
            raise ValueError("too many ranges")
        for index in range(count):
            addresses[index], counts[index] = ranges[index]
        for number in numbers:
            for index in range(count):
                self.flush_run(number, addresses[index], counts[index])

    def flush_range(self, int number, uint64_t address, uint64_t pages):
        """Drops the translations of consecutive pages of a context."""
        self.flush_run(number, address, pages)

    cdef int flush_run(self, int number, uint64_t address, uint64_t pages) except -1:
        cdef Context *context = self.context_at(number)
        cdef uint64_t index
        if number != self.current and context.flush_all:
            return 0
        if pages > PENDING_FLUSHES or (
            number != self.current and context.pending + pages > PENDING_FLUSHES
        ):
            self.flush(number)
            return 0
        for index in range(pages):
            if number == self.current:
                flush_page(self.cs, context.marks, address + index * PAGE)
            else:
                context.pages[context.pending] = address + index * PAGE
                context.pending += 1
        return 0

    def set_interrupt(self, int number, bint pending):
        """Says whether the exit ``acknowledge`` has a vector to deliver to a context."""
        self.change_request(number, REQUEST_HARD, pending)

    def set_time_stamp_offset(self, int number, int64_t offset):
        """Sets what RDTSC and RDTSCP add to the clock in a context, in nanoseconds."""
        self.context_at(number).time_stamp_offset = offset

    def share(self, int source, int target):
        """Copies the registers that the VTLs of one processor share (TLFS, VSM, shared state).

        Those are the general registers but RSP, CR2, DR0 to DR3, and the x87 and SSE state.
        """
        cdef uint8_t *here = self.context_env(source)
        cdef uint8_t *there = self.context_env(target)
        cdef uint64_t stack = u64(there, ENV_REGS + 32)[0]
        memcpy(there + ENV_REGS, here + ENV_REGS, 128)
        u64(there, ENV_REGS + 32)[0] = stack
        u64(there, ENV_CR + 16)[0] = u64(here, ENV_CR + 16)[0]
        memcpy(there + ENV_DR, here + ENV_DR, 32)
        memcpy(there + ENV_FPUS - 4, here + ENV_FPUS - 4, ENV_XMM - ENV_FPUS + 4)
        memcpy(there + ENV_XMM, here + ENV_XMM, 32 * ENV_XMM_SIZE)
        u64(there, ENV_XCR0)[0] = u64(here, ENV_XCR0)[0]

    def inject(self, int number, int vector, int error_code):
        """Delivers an exception in a context before its next instruction.

        Args:
            number: the context.
            vector: the vector.
            error_code: the error code, of which the vector decides whether it is pushed.
        """
        cdef Context *context = self.context_at(number)
        context.injected = vector & 0xFF
        context.injected_error = error_code
        context.injected_from_hardware = False
        self.change_request(number, REQUEST_INJECTED, True)

    def set_user_execution(self, int number, bint on):
        """Says whether fetches of user code need the permission bit 3 of a table entry.

        Without it, or while CR4.SMEP is clear, bit 2 decides about them as about the kernel's.
        """
        if self.context_at(number).user_execution != on:
            self.contexts[number].user_execution = on
            self.flush(number)

    def pending_injection(self, int number):
        """The vector that `inject` has made pending and that is not yet delivered, or None."""
        cdef int vector = self.context_at(number).injected
        return None if vector < 0 else vector

    def delivering_interrupt(self, number):
        """Whether an exit came in the middle of the delivery of an interrupt to a context."""
        return self.context_at(number).delivering >= 0

    def intercept_writes(self, int number, uint32_t control_registers, uint32_t tables):
        """Says which writes exit to ``control_write`` and ``table_write``.

        Args:
            number: the context.
            control_registers: bit n for CRn.
            tables: bit 0 GDTR, 1 IDTR, 2 LDTR, 3 TR.
        """
        cdef uint8_t *env = self.context_env(number)
        cdef uint64_t *others = u64(env, ENV_INTERCEPT)
        cdef int table
        cdef int[4] codes = [EXIT_GDTR_WRITE, EXIT_IDTR_WRITE, EXIT_LDTR_WRITE, EXIT_TR_WRITE]
        self.context_at(number).control_intercepts = control_registers
        (<uint16_t *>(env + ENV_INTERCEPT_CR_WRITE))[0] = <uint16_t>(
            control_registers | ALWAYS_INTERCEPTED
        )
        for table in range(4):
            if tables >> table & 1:
                others[0] |= <uint64_t>1 << (codes[table] - 0x160)
            else:
                others[0] &= ~(<uint64_t>1 << (codes[table] - 0x160))

    def set_nmi(self, int number):
        """Asserts the non-maskable interrupt of a context."""
        self.change_request(number, REQUEST_NMI, True)

    def takes_nmi(self, int number):
        """Whether a context has a non-maskable interrupt and is not in the handler of another."""
        cdef uint32_t request = self.context_at(number).interrupt_request
        if number == self.current:
            request = u32(self.cs, CS_INTERRUPT_REQUEST)[0]
        return (
            (request & REQUEST_NMI) != 0
            and not u32(self.context_env(number), ENV_HFLAGS2)[0] & HF2_NMI
        )

    cdef int change_request(self, int number, uint32_t bit, bint on) except -1:
        cdef uint32_t *request = &self.context_at(number).interrupt_request
        if number == self.current:
            request = u32(self.cs, CS_INTERRUPT_REQUEST)
        if on:
            request[0] |= bit
            if number == self.current:
                self.break_chain()
        else:
            request[0] &= ~bit
        return 0

    def interrupts_enabled(self, int number):
        """Whether a context would take an interrupt now: RFLAGS.IF set and no shadow."""
        cdef uint8_t *env = self.context_env(number)
        return (
            (u64(env, ENV_EFLAGS)[0] & INTERRUPT_FLAG) != 0
            and not u32(env, ENV_HFLAGS)[0] & HF_INHIBIT
        )

    # Registers. Numbers of general registers are the processor's: RAX RCX RDX RBX RSP RBP RSI RDI.

    def get_general(self, int number, int register):
        """A general register of a context."""
        return u64(self.context_env(number), ENV_REGS + 8 * (register & 15))[0]

    def set_general(self, int number, int register, uint64_t value):
        """Sets a general register of a context."""
        u64(self.context_env(number), ENV_REGS + 8 * (register & 15))[0] = value

    def get_rip(self, int number):
        """The instruction pointer of a context; exact in exits other than port accesses."""
        return u64(self.context_env(number), ENV_EIP)[0]

    def set_rip(self, int number, uint64_t value):
        """Sets the instruction pointer of a context."""
        if number == self.current and not self.running:
            # A block begins there.
            self.progress.debug.paid_end = 0
        u64(self.context_env(number), ENV_EIP)[0] = value

    def get_rflags(self, int number):
        """RFLAGS of a context."""
        cdef uint8_t *env = self.context_env(number)
        return full_flags(env, self.running and number == self.current)

    def set_rflags(self, int number, uint64_t value):
        """Sets RFLAGS of a context."""
        cdef uint8_t *env = self.context_env(number)
        u64(env, ENV_EFLAGS)[0] = (value & 0x3F7FD5) | 2
        join_from_full(env)
        if self.running and number == self.current:
            split_flags(env)
        derive_hflags(env)

    def get_segment(self, int number, int segment):
        """(selector, base, limit, flags) of ES CS SS DS FS GS LDTR TR GDTR IDTR (0 to 9).

        Flags are the descriptor's second word with only its attribute bits (8 to 15, 20 to 23).
        """
        cdef uint8_t *at = segment_pointer(self.context_env(number), segment)
        return u32(at, 0)[0], u64(at, 8)[0], u32(at, 16)[0], u32(at, 20)[0]

    def set_segment(self, int number, int segment, uint32_t selector, uint64_t base,
                    uint32_t limit, uint32_t flags):
        """Sets a segment or table register of a context (numbers as for ``get_segment``)."""
        cdef uint8_t *env = self.context_env(number)
        cdef uint8_t *at = segment_pointer(env, segment)
        u32(at, 0)[0] = selector
        u64(at, 8)[0] = base
        u32(at, 16)[0] = limit
        u32(at, 20)[0] = flags
        derive_hflags(env)

    def get_control(self, int number, int register):
        """CR0, CR2, CR3 or CR4 of a context (by number)."""
        return u64(self.context_env(number), ENV_CR + 8 * (register & 7))[0]

    def set_control(self, int number, int register, uint64_t value, bint flush=True):
        """Sets CR0, CR2, CR3 or CR4 of a context; drops its translations unless told not to."""
        cdef uint8_t *env = self.context_env(number)
        u64(env, ENV_CR + 8 * (register & 7))[0] = value
        derive_hflags(env)
        if flush and register != 2:
            self.flush(number)

    def get_state(self, int number, str name):
        """A register named in ``STATE_REGISTERS``: EFER, the MSRs of system calls, DR0 to DR7."""
        offset, size = STATE_REGISTERS[name]
        cdef uint8_t *at = self.context_env(number) + <long>offset
        return u64(at, 0)[0] if size == 8 else u32(at, 0)[0] & ((1 << (8 * size)) - 1)

    def set_state(self, int number, str name, uint64_t value):
        """Sets a register named in ``STATE_REGISTERS``."""
        offset, size = STATE_REGISTERS[name]
        cdef uint8_t *env = self.context_env(number)
        cdef uint8_t *at = env + <long>offset
        if size == 8:
            u64(at, 0)[0] = value
        elif size == 4:
            u32(at, 0)[0] = <uint32_t>value
        else:
            (<uint16_t *>at)[0] = <uint16_t>value
        if name == "efer":
            derive_hflags(env)
            self.flush(number)

    def get_xmm(self, int number, int first, int count):
        """``count`` XMM registers from ``first`` on, 16 bytes each."""
        cdef uint8_t *env = self.context_env(number)
        cdef int index
        result = bytearray(16 * count)
        cdef uint8_t[::1] view = result
        for index in range(count):
            memcpy(&view[16 * index], env + ENV_XMM + ENV_XMM_SIZE * (first + index), 16)
        return bytes(result)

    def set_xmm(self, int number, int first, const uint8_t[::1] data):
        """Sets XMM registers from ``first`` on from whole 16-byte values."""
        cdef uint8_t *env = self.context_env(number)
        cdef int index
        for index in range(data.shape[0] // 16):
            memcpy(env + ENV_XMM + ENV_XMM_SIZE * (first + index), &data[16 * index], 16)

    def get_mode(self, int number):
        """CPL (bits 1:0), protected mode (bit 2), 64-bit code (bit 3), virtual 8086 (bit 4)."""
        return mode_of(self.context_env(number))

    def get_context(self, int number):
        """All registers of a context as bytes whose layout belongs to this library version."""
        cdef uint8_t *env = self.context_env(number)
        cdef bytes result = bytes(CONTEXT_SIZE)
        cdef uint8_t *copy = <uint8_t *>malloc(CONTEXT_SIZE)
        memcpy(copy, env, CONTEXT_SIZE)
        join_flags(copy, self.running and number == self.current)
        result = copy[:CONTEXT_SIZE]
        free(copy)
        return result

    def set_context(self, int number, const uint8_t[::1] state):
        """Restores what ``get_context`` returned. Only between runs."""
        if state.shape[0] != CONTEXT_SIZE:
            raise ValueError("not a context of this library version")
        memcpy(self.context_env(number), &state[0], CONTEXT_SIZE)
        if self.audits:
            intercept_flushes(self.context_env(number))
        self.flush(number)
