# Opening, checking and closing the library.


cdef class DevicePage:
    """A page of device registers: which engine and which guest-physical page it belongs to."""

    cdef object engine
    cdef uint64_t gpa

    def __cinit__(self, object engine, uint64_t gpa):
        self.engine = engine
        self.gpa = gpa


cdef void shorten_blocks() except *:
    # A guest that executes hundreds of certain instructions in a row would otherwise let the
    # library write beyond its temporaries. There is no option for it; the limit is a constant.
    cdef uint8_t *operand = <uint8_t *>&tb_gen_code_x86_64 + CODE_MOST_INSTRUCTIONS
    cdef uint8_t *page = <uint8_t *>(<uintptr_t>operand & ~<uintptr_t>(PAGE - 1))
    cdef uint32_t most
    memcpy(&most, operand, 4)
    if most == MOST_INSTRUCTIONS:
        return
    if most != 512 or (operand - 1)[0] != 0xBB or <uintptr_t>operand & (PAGE - 1) > PAGE - 4:
        raise HypercallError(
            "the unicorn library in use is not the one of the unicorn 2.1.4 wheel; "
            "install unicorn==2.1.4 from PyPI"
        )
    most = MOST_INSTRUCTIONS
    if mprotect(page, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC):
        return  # A system that forbids it runs well-meaning guests all the same.
    memcpy(operand, &most, 4)
    mprotect(page, PAGE, PROT_READ | PROT_EXEC)


cdef class Library(Auditor):
    """One opened library with its memory mapped and its hooks in place."""

    def __init__(self, object ram, object arena):
        """Maps the memory and installs the hooks.

        Args:
            ram: writable buffer of the guest's RAM, page aligned, a whole number of pages.
            arena: writable buffer of the overlay pages, page aligned.
        """
        cdef uint8_t[::1] ram_view = ram
        cdef uint8_t[::1] arena_view = arena
        cdef unsigned int major = 0, minor = 0
        cdef uint64_t sentinel = 0x1122334455667788ULL
        cdef uint8_t *cpu_class
        self.buffers = (ram, arena)
        self.device_pages = []
        self.ram = &ram_view[0]
        self.ram_size = ram_view.shape[0]
        self.arena = &arena_view[0]
        self.arena_size = arena_view.shape[0]
        self.check(uc_open(UC_ARCH_X86, UC_MODE_64, &self.uc), "open the engine")
        self.check(uc_ctl_set_cpu_model(self.uc, UC_CPU_X86_BROADWELL), "choose the processor model")
        self.check(uc_ctl_set_tcg_buffer_size(self.uc, 96 << 20), "size the code buffer")
        self.check(uc_ctl_exits_enable(self.uc), "turn the end address off")
        self.check(uc_mem_map_ptr(self.uc, 0, self.ram_size, UC_PROT_ALL, self.ram), "map RAM")
        self.check(
            uc_mem_map_ptr(self.uc, ARENA_BASE, self.arena_size, UC_PROT_ALL, self.arena),
            "map the overlay pages",
        )
        self.private_pages = <uint8_t *>calloc(1, 8 * PAGE)
        cdef uint64_t aligned = (<uint64_t>self.private_pages + PAGE - 1) & ~(<uint64_t>PAGE - 1)
        self.check(
            uc_mem_map_ptr(self.uc, PRIVATE_BASE, 6 * PAGE, UC_PROT_ALL, <void *>aligned),
            "map the control block",
        )
        self.fill_control_block(<uint8_t *>aligned)
        self.check(
            uc_mmio_map(self.uc, VOID_BASE, PAGE, <void *>void_read, <void *>self,
                        <void *>void_write, <void *>self),
            "map the void",
        )
        self.cs = <uint8_t *>(u64(self.uc, UC_CPU)[0])
        if self.cs == NULL:
            raise HypercallError("unicorn did not make a processor")
        self.env = <uint8_t *>(u64(self.cs, CS_ENV)[0])
        self.check(uc_reg_write(self.uc, UC_X86_REG_RAX, &sentinel), "write a register")
        uc_version(&major, &minor)
        cpu_class = <uint8_t *>(u64(self.cs, CS_CLASS)[0])
        if (
            u64(self.env, ENV_REGS)[0] != sentinel
            or u64(cpu_class, CLASS_TLB_FILL)[0] != <uint64_t>&x86_cpu_tlb_fill_x86_64
            or major != 2
        ):
            raise HypercallError(
                f"the unicorn library in use (reported version {major}.{minor}) is not the one of "
                "the unicorn 2.1.4 wheel; install unicorn==2.1.4 from PyPI"
            )
        u64(self.env, ENV_REGS)[0] = 0
        shorten_blocks()
        u64(cpu_class, CLASS_TLB_FILL)[0] = <uint64_t>&fill_translation
        u64(cpu_class, CLASS_EXEC_INTERRUPT)[0] = <uint64_t>&take_interrupt
        # The library reads this field only to choose between the two; it leads us from a
        # processor back to its engine.
        u64(cpu_class, CLASS_TLB_FILL_CPU)[0] = <uint64_t><void *>self
        self.progress.env = self.env
        self.progress.cs = self.cs
        self.progress.uc = self.uc
        self.progress.repeat = repeat_string
        # Blocks look for a request to stop when they begin. Without this they would also call the
        # library after each load and store, and leave in the middle of an instruction.
        (<uint8_t *>self.uc)[UC_NO_EXIT_REQUEST] = 1
        self.add_hooks()
        self.pages = <uint8_t *>calloc(self.ram_size // PAGE + 1, 1)
        self.stores = <uint8_t *>calloc(self.ram_size // PAGE + 1, 1)
        self.table_pages = 0

    def __dealloc__(self):
        cdef int index
        if self.uc != NULL:
            # The library frees what lies in its own structure; ours are freed below.
            uc_close(self.uc)
            self.uc = NULL
        for index in range(self.context_count):
            if index != self.current:
                free_tlb(self.contexts[index].tlb)
            free(self.contexts[index].state)
            free(self.contexts[index].tlb)
            free(self.contexts[index])
        free(self.contexts)
        for index in range(self.table_count):
            free(self.tables[index])
        free(self.tables)
        free(self.pages)
        free(self.stores)
        free(self.private_pages)

    cdef void check(self, uc_err error, str what) except *:
        if error != 0:
            raise HypercallError(
                f"unicorn could not {what}: {uc_strerror(error).decode()}"
            )

    def attach(self, object exits):
        """Says what is called for each exit (see ``hypercall.cpu.interface.Exits``)."""
        self.exits = exits
        self.hypercall_exit = self.exits.hypercall
        self.read_msr_exit = self.exits.read_msr
        self.write_msr_exit = self.exits.write_msr
        self.read_port_exit = self.exits.read_port
        self.write_port_exit = self.exits.write_port
        self.read_device_exit = self.exits.read_device
        self.write_device_exit = self.exits.write_device

    cdef void fill_control_block(self, uint8_t *block):
        # The map of MSRs that exit: all but those that are plain registers of the processor.
        cdef uint8_t *msr_map = block + PAGE
        self.msr_map = msr_map
        u64(block, 72)[0] = PRIVATE_BASE + PAGE
        memset(msr_map, 0xFF, 3 * PAGE)
        for msr in NATIVE_MSRS:
            self.trap_msr(msr, False)

    def trap_msr(self, uint32_t msr, bint on):
        """Lets accesses to an MSR exit, or lets the processor serve them itself.

        Args:
            msr: one of ``NATIVE_MSRS``.
            on: whether they exit.
        """
        cdef uint32_t bit = (msr if msr < 0x2000 else 8192 + (msr & 0x1FFF)) * 2
        if msr not in NATIVE_MSRS:
            raise ValueError("not an MSR that the processor serves itself")
        if on:
            self.msr_map[bit // 8] |= 3 << (bit % 8)
        elif msr in ADDRESS_MSRS:
            # The library does not look at what is written.
            self.msr_map[bit // 8] &= ~(1 << (bit % 8))
        else:
            self.msr_map[bit // 8] &= ~(3 << (bit % 8))

    cdef bint holds_address(self, uint32_t msr):
        # Whether an MSR is one of ADDRESS_MSRS and is not trapped.
        cdef uint32_t bit = (msr if msr < 0x2000 else 8192 + (msr & 0x1FFF)) * 2
        return msr in ADDRESS_MSRS and not self.msr_map[bit // 8] >> (bit % 8) & 1

    cdef void add_hooks(self) except *:
        cdef uc_hook handle = 0
        cdef void *this = <void *>self
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_BLOCK, <void *>on_block,
                               &self.progress, 1, 0), "hook blocks")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_INTR, <void *>on_exception, this, 1, 0),
                   "hook exceptions")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_INSN_INVALID, <void *>on_undefined, this,
                               1, 0), "hook undefined opcodes")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_EDGE_GENERATED, <void *>on_translated,
                               this, 1, 0), "hook translated blocks")
        # Never called, for nothing is unmapped. While it is there the library leaves the watching
        # of stores to code to us, and does not search its whole TLB for each block it translates.
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_MEM_FETCH_UNMAPPED, <void *>on_unmapped,
                               this, 1, 0), "hook fetches of what is not mapped")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_INSN, <void *>on_port_read, this, 1, 0,
                               UC_X86_INS_IN), "hook IN")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_INSN, <void *>on_port_write, this, 1, 0,
                               UC_X86_INS_OUT), "hook OUT")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_INSN, <void *>on_syscall, this, 1, 0,
                               UC_X86_INS_SYSCALL), "hook SYSCALL")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_INSN, <void *>on_time_stamp, this, 1, 0,
                               UC_X86_INS_RDTSC), "hook RDTSC")
        self.check(uc_hook_add(self.uc, &handle, UC_HOOK_INSN, <void *>on_time_stamp_p, this, 1, 0,
                               UC_X86_INS_RDTSCP), "hook RDTSCP")

    def map_device(self, uint64_t gpa):
        """Makes a page of device registers; returns the table entry that maps it.

        Args:
            gpa: guest-physical address of the page; reads and writes in it call the exits
                ``read_device(gpa, size)`` and ``write_device(gpa, size, value)``.
        """
        cdef uint64_t address = DEVICE_BASE + len(self.device_pages) * PAGE
        record = DevicePage(self, gpa)
        self.device_pages.append(record)
        self.check(
            uc_mmio_map(self.uc, address, PAGE, <void *>device_read, <void *>record,
                        <void *>device_write, <void *>record),
            "map a device",
        )
        return address | ENTRY_DEVICE | ENTRY_ALL
