# Running, and the part of each exit that may touch Python objects.


cdef class Engine(Instructions):
    """One unicorn instance that runs the virtual processors of one machine in turns.

    A *context* is one world of one virtual processor (a processor has one per VTL). A *table* is
    one VTL's view of guest-physical memory: for each page an entry that names the backing page
    and the accesses that it allows (see ``entry``).

    Raises:
        HypercallError: the library is not the one that the layout table describes.
    """

    cdef inline uint64_t now(self):
        cdef timespec moment
        if self.host_time:
            clock_gettime(CLOCK_MONOTONIC, &moment)
            return <uint64_t>moment.tv_sec * 1000000000 + moment.tv_nsec - self.host_epoch
        return self.clock()

    @property
    def count(self):
        """Bytes of guest code executed, with 16 more for each read of the time stamp counter."""
        return self.progress.count

    @count.setter
    def count(self, uint64_t value):
        self.progress.count = value

    @property
    def limit(self):
        """The count at which ``run`` returns."""
        return self.progress.turn_limit

    @limit.setter
    def limit(self, uint64_t value):
        self.progress.turn_limit = value
        self.limit_changed()

    def time(self):
        """Nanoseconds since the machine was made, by its own clock."""
        return self.now()

    def use_host_time(self):
        """Lets the clock follow the host's from now on instead of counting executed code."""
        cdef uint64_t before = self.now()
        self.host_epoch = 0
        self.host_time = True
        self.host_epoch = self.now() - before

    def run(self):
        """Runs the loaded context until ``limit`` is reached or an exit asked to stop.

        Raises:
            HypercallError: the engine itself failed.
            BaseException: whatever an exit raised.
        """
        cdef uc_err error
        cdef bint again = True
        cdef Debug *debug = &self.debug
        debug.stop = STOP_NONE
        debug.enters = debug.stepping
        while again:
            self.arm()
            self.progress.break_in = False
            self.limit_changed()
            self.choose_code(debug.enters or debug.paid_end != 0)
            debug.restart = False
            debug.enters = False
            self.running = True
            error = uc_emu_start(self.uc, u64(self.env, ENV_EIP)[0], 0, 0, 0)
            self.running = False
            join_flags(self.env, False)
            again = debug.restart and self.failure is None and error == 0
        debug.passes = False
        if debug.stop == STOP_NONE:
            # The turn has ended right behind an instruction that is to be stopped behind.
            if debug.watch_hit:
                debug.stop = STOP_WATCHPOINT
            elif debug.stepping and debug.moved and debug.step_first >= debug.step_end:
                debug.stop = STOP_STEP
        debug.watch_hit = False
        if self.delivers_again:
            self.delivers_again = False
            self.change_request(self.current, REQUEST_INJECTED, True)
        if self.failure is not None:
            failure = self.failure
            self.failure = None
            raise failure
        if error != 0:
            raise HypercallError(
                f"the engine stopped at {u64(self.env, ENV_EIP)[0]:#x}: "
                f"{uc_strerror(error).decode()}"
            )

    def stop(self):
        """Ends ``run`` at the end of the current block. Only from within an exit."""
        self.end_run()

    def counters(self):
        """How often each kind of exit came, and what was translated, by name."""
        return dict(self.statistics)

    cdef int serve_exit(self, int code):
        # Serves an exit of the SVM emulation; returns the vector to deliver, or -1.
        cdef uint64_t value
        cdef int length = 2
        cdef Context *context
        cdef int before = self.current
        try:
            if code == EXIT_MSR:
                if u32(self.env, ENV_ERROR_CODE)[0] == 0:
                    self.statistics.msr_reads += 1
                    # A loop that only reads a counter must see it move.
                    self.progress.count += EXIT_TIME
                    answer = self.read_msr_exit(u32(self.env, ENV_REGS + 8)[0])
                    if self.current != before:
                        return -1
                    if answer is None:
                        u32(self.env, ENV_ERROR_CODE)[0] = 0
                        return 13
                    value = answer
                    u64(self.env, ENV_REGS)[0] = value & 0xFFFFFFFFULL
                    u64(self.env, ENV_REGS + 16)[0] = value >> 32
                else:
                    self.statistics.msr_writes += 1
                    value = u32(self.env, ENV_REGS)[0] | (
                        <uint64_t>u32(self.env, ENV_REGS + 16)[0] << 32
                    )
                    index = u32(self.env, ENV_REGS + 8)[0]
                    if self.holds_address(index):
                        done = <uint64_t>(<int64_t>(value << 16) >> 16) == value
                        if done:
                            u64(self.env, ADDRESS_MSRS[index])[0] = value
                    else:
                        done = self.write_msr_exit(index, value)
                    if self.current != before:
                        return -1
                    if not done:
                        u32(self.env, ENV_ERROR_CODE)[0] = 0
                        return 13
            elif code == EXIT_CPUID:
                self.statistics.cpuid += 1
                self.progress.count += EXIT_TIME
                a, b, c, d = self.exits.cpuid(
                    u32(self.env, ENV_REGS)[0], u32(self.env, ENV_REGS + 8)[0]
                )
                u64(self.env, ENV_REGS)[0] = <uint32_t>a
                u64(self.env, ENV_REGS + 24)[0] = <uint32_t>b
                u64(self.env, ENV_REGS + 8)[0] = <uint32_t>c
                u64(self.env, ENV_REGS + 16)[0] = <uint32_t>d
            elif code == EXIT_HLT:
                self.statistics.halts += 1
                length = 1
                u64(self.env, ENV_EIP)[0] += 1
                u32(self.env, ENV_HFLAGS)[0] &= ~<uint32_t>HF_INHIBIT
                if not (
                    u32(self.cs, CS_INTERRUPT_REQUEST)[0] & REQUEST_NMI
                    and not u32(self.env, ENV_HFLAGS2)[0] & HF2_NMI
                ):
                    self.exits.halt()
                return -1
            elif code == EXIT_PAUSE:
                self.statistics.pauses += 1
                self.progress.count += PAUSE_TIME
                context = self.contexts[self.current]
                context.pauses += 1
                if context.pauses >= SLICE_OF_PAUSES:
                    context.pauses = 0
                    self.exits.spin()
            elif code == EXIT_INVLPG:
                return self.serve_page_flush()
            elif code == EXIT_SHUTDOWN:
                self.exits.triple_fault()
                return -1
            elif code == EXIT_ABANDON:
                self.keep_delivery()
                if self.deferred >= 0:
                    self.switch(self.deferred)
                    self.deferred = -1
                return -1
            elif EXIT_WRITE_CR0 <= code <= EXIT_WRITE_CR15:
                return self.serve_control_write()
            elif code == EXIT_READ_CR8:
                return self.serve_priority_read()
            elif EXIT_IDTR_WRITE <= code <= EXIT_TR_WRITE:
                self.exits.table_write(
                    ("IDTR", "GDTR", "LDTR", "TR")[code - EXIT_IDTR_WRITE], self.instruction()
                )
                return -1
            elif code == EXIT_RDPMC:
                u32(self.env, ENV_ERROR_CODE)[0] = 0
                return 13
            elif code == EXIT_MONITOR or code == EXIT_MWAIT:
                return 6
            else:
                raise HypercallError(f"the engine left the guest for an unknown reason ({code:#x})")
        except BaseException as error:
            self.fail(error)
            return -1
        if self.current != before:
            # The exit has entered another VTL; the instruction is not done.
            return -1
        # Each of these instructions is two bytes, or three with a prefix byte.
        return self.leave_instruction(self.instruction_length(length))

    cdef void keep_delivery(self):
        # The access that was abandoned may have been part of an interrupt's delivery.
        cdef Context *context
        cdef int index
        for index in range(self.context_count):
            context = self.contexts[index]
            if context.delivering >= 0:
                context.injected = context.delivering
                context.injected_from_hardware = not context.delivering_exception
                context.delivering = -1
                if index == self.current and self.deferred < 0:
                    # The library would deliver it at once, before it looks at the end of the run.
                    self.delivers_again = True
                else:
                    self.change_request(index, REQUEST_INJECTED, True)
        u32(self.env, ENV_OLD_EXCEPTION)[0] = <uint32_t>-1

    cdef int acknowledge(self):
        # The vector of the interrupt to deliver now, or -1.
        try:
            return self.exits.acknowledge()
        except BaseException as error:
            self.fail(error)
        return -1

    cdef uint64_t read_port(self, uint32_t port, int size):
        cdef uint64_t value = 0xFFFFFFFFULL
        self.statistics.port_reads += 1
        self.within_instruction = True
        try:
            value = self.read_port_exit(port, size)
        except BaseException as error:
            self.fail(error)
        self.within_instruction = False
        return value

    cdef void write_port(self, uint32_t port, int size, uint32_t value):
        self.statistics.port_writes += 1
        self.within_instruction = True
        try:
            self.write_port_exit(port, size, value)
        except BaseException as error:
            self.fail(error)
        self.within_instruction = False

    cdef uint64_t read_device(self, uint64_t gpa, unsigned int size):
        cdef uint64_t value = NEVER
        self.statistics.mmio_reads += 1
        self.within_instruction = True
        try:
            value = self.read_device_exit(gpa, size)
        except BaseException as error:
            self.fail(error)
        self.within_instruction = False
        return value

    cdef void write_device(self, uint64_t gpa, unsigned int size, uint64_t value):
        self.statistics.mmio_writes += 1
        self.within_instruction = True
        try:
            self.write_device_exit(gpa, size, value)
        except BaseException as error:
            self.fail(error)
        self.within_instruction = False
