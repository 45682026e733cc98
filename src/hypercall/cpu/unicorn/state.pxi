# The processor state of one context, as plain memory.

STATE_REGISTERS = {
    "efer": (ENV_EFER, 8),
    "star": (ENV_STAR, 8),
    "lstar": (ENV_LSTAR, 8),
    "cstar": (ENV_CSTAR, 8),
    "sfmask": (ENV_FMASK, 8),
    "kernel_gs_base": (ENV_KERNEL_GS_BASE, 8),
    "sysenter_cs": (ENV_SYSENTER_CS, 4),
    "sysenter_esp": (ENV_SYSENTER_ESP, 8),
    "sysenter_eip": (ENV_SYSENTER_EIP, 8),
    "tsc_aux": (ENV_TSC_AUX, 8),
    "xcr0": (ENV_XCR0, 8),
    "pat": (ENV_PAT, 8),
    "mxcsr": (ENV_MXCSR, 4),
    "fpu_control": (ENV_FPUC, 2),
    "fpu_status": (ENV_FPUS, 2),
    **{f"dr{number}": (ENV_DR + 8 * number, 8) for number in range(8)},
}


cdef inline uint64_t pair(uint8_t *env, int high, int low) noexcept:
    # Two 32-bit registers as one value, as 32-bit callers pass their parameters.
    return (<uint64_t>u32(env, ENV_REGS + 8 * high)[0] << 32) | u32(env, ENV_REGS + 8 * low)[0]


cdef inline int mode_of(uint8_t *env) noexcept:
    cdef uint32_t hflags = u32(env, ENV_HFLAGS)[0]
    cdef int mode = hflags & HF_CPL
    if hflags & HF_PE:
        mode |= 4
    if hflags & HF_LMA and hflags & HF_CS64:
        mode |= 8
    if hflags & HF_VM:
        mode |= 16
    return mode


cdef uint64_t full_flags(uint8_t *env, bint split) noexcept:
    # While the library runs, the arithmetic flags and DF lie in fields of their own.
    cdef uint64_t flags = u64(env, ENV_EFLAGS)[0]
    if split:
        flags |= helper_cc_compute_all_x86_64(
            u64(env, ENV_CC_DST)[0],
            u64(env, ENV_CC_SRC)[0],
            u64(env, ENV_CC_SRC2)[0],
            <int>u32(env, ENV_CC_OP)[0],
        ) & FLAG_BITS
        if <int32_t>u32(env, ENV_DF)[0] < 0:
            flags |= DIRECTION
    return flags


cdef void join_from_full(uint8_t *env) noexcept:
    cdef uint64_t flags = u64(env, ENV_EFLAGS)[0]
    u64(env, ENV_CC_SRC)[0] = flags & FLAG_BITS
    u32(env, ENV_CC_OP)[0] = 1  # the flags are in cc_src
    u32(env, ENV_DF)[0] = <uint32_t>-1 if flags & DIRECTION else 1


cdef void join_flags(uint8_t *env, bint split) noexcept:
    u64(env, ENV_EFLAGS)[0] = full_flags(env, split)
    join_from_full(env)


cdef void split_flags(uint8_t *env) noexcept:
    join_from_full(env)
    u64(env, ENV_EFLAGS)[0] &= ~<uint64_t>(FLAG_BITS | DIRECTION)


cdef uint8_t *segment_pointer(uint8_t *env, int segment) except NULL:
    if 0 <= segment < 6:
        return env + ENV_SEGMENTS + 24 * segment
    if 6 <= segment < 10:
        return env + ENV_LDT + 24 * (segment - 6)
    raise IndexError("no such segment register")


cdef void derive_hflags(uint8_t *env) noexcept:
    # What the translator must know of the mode, from the registers that decide it.
    cdef uint64_t cr0 = u64(env, ENV_CR)[0]
    cdef uint64_t cr4 = u64(env, ENV_CR + 32)[0]
    cdef uint64_t efer = u64(env, ENV_EFER)[0]
    cdef uint64_t flags = u64(env, ENV_EFLAGS)[0]
    cdef uint32_t code = u32(env, ENV_SEGMENTS + 24 + 20)[0]
    cdef uint32_t stack = u32(env, ENV_SEGMENTS + 48 + 20)[0]
    cdef uint32_t hflags = u32(env, ENV_HFLAGS)[0] & (HF_INHIBIT | HF_GUEST)
    hflags |= 4  # translation by the library's TLB
    hflags |= (cr0 << 8) & 0xE00  # MP, EM, TS
    hflags |= flags & 0x3000  # IOPL
    hflags |= flags & 0x100  # TF
    hflags |= flags & 0x10000  # RF
    hflags |= flags & 0x20000  # VM
    hflags |= flags & 0x40000  # AC
    if cr0 & 1:
        hflags |= HF_PE
        hflags |= 3 if flags & 0x20000 else (stack >> 13) & 3
    if cr4 & 0x200:
        hflags |= 0x400000
    if cr4 & 0x200000:
        hflags |= 0x800000
    if efer & 0x1000:
        hflags |= 0x100000
    if efer & 0x400:
        hflags |= HF_LMA
    if hflags & HF_LMA and code & 0x200000:
        hflags |= HF_CS64 | 0x10 | 0x20
    else:
        if code & 0x400000:
            hflags |= 0x10
        if stack & 0x400000:
            hflags |= 0x20
        if not cr0 & 1 or flags & 0x20000 or not code & 0x400000:
            hflags |= 0x40
        elif (
            u64(env, ENV_SEGMENTS + 72 + 8)[0]
            | u64(env, ENV_SEGMENTS + 8)[0]
            | u64(env, ENV_SEGMENTS + 48 + 8)[0]
        ):
            hflags |= 0x40
    u32(env, ENV_HFLAGS)[0] = hflags


cdef void prepare_state(uint8_t *env) noexcept:
    # Turns the library's SVM emulation into exits, without a VMRUN.
    u32(env, ENV_HFLAGS)[0] |= HF_GUEST
    u32(env, ENV_HFLAGS2)[0] |= HF2_GIF
    u64(env, ENV_VMCB)[0] = PRIVATE_BASE


cdef uint64_t usual_intercepts(bint spin_exits) noexcept:
    # RDPMC, CPUID, HLT, MSR, SHUTDOWN, MONITOR and MWAIT always exit.
    cdef uint64_t intercept = (
        (<uint64_t>1 << (EXIT_RDPMC - 0x160))
        | (<uint64_t>1 << (EXIT_CPUID - 0x160))
        | (<uint64_t>1 << (EXIT_HLT - 0x160))
        | (<uint64_t>1 << (EXIT_MSR - 0x160))
        | (<uint64_t>1 << (EXIT_SHUTDOWN - 0x160))
        | (<uint64_t>1 << (EXIT_MONITOR - 0x160))
        | (<uint64_t>1 << (EXIT_MWAIT - 0x160))
    )
    if spin_exits:
        intercept |= <uint64_t>1 << (EXIT_PAUSE - 0x160)
    return intercept


cdef void mend_task(uint8_t *env) noexcept nogil:
    # Without a task segment, which LTR of a null selector leaves, the library ends the process
    # when it looks for a stack. One without a byte gives #TS instead.
    cdef uint32_t flags = u32(env, ENV_TR + 20)[0]
    if not flags & SEGMENT_PRESENT or flags >> 8 & 7 not in (1, 3):
        u32(env, ENV_TR + 16)[0] = 0
        u32(env, ENV_TR + 20)[0] = BUSY_TASK


cdef void reset_state(uint8_t *env, bint spin_exits) noexcept:
    cdef int segment
    memset(env, 0, ENV_CC_DST)
    u64(env, ENV_EFLAGS)[0] = 2
    join_from_full(env)
    u64(env, ENV_EIP)[0] = 0xFFF0
    u64(env, ENV_REGS + 16)[0] = 0x306F2  # EDX holds the processor's signature
    u32(env, ENV_HFLAGS)[0] = HF_GUEST
    u32(env, ENV_HFLAGS2)[0] = HF2_GIF
    for segment in range(10):
        memset(env + ENV_SEGMENTS + 24 * segment, 0, 24)
        u32(env, ENV_SEGMENTS + 24 * segment + 16)[0] = 0xFFFF
        if segment < 6:
            u32(env, ENV_SEGMENTS + 24 * segment + 20)[0] = 0x9300
    u32(env, ENV_SEGMENTS + 24)[0] = 0xF000
    u64(env, ENV_SEGMENTS + 24 + 8)[0] = 0xFFFF0000ULL
    u32(env, ENV_SEGMENTS + 24 + 20)[0] = 0x9B00
    u32(env, ENV_LDT + 20)[0] = 0x8200
    u32(env, ENV_TR + 20)[0] = 0x8B00
    memset(env + ENV_CR, 0, 72)
    u64(env, ENV_CR)[0] = 0x60000010
    u64(env, ENV_EFER)[0] = 0
    memset(env + ENV_STAR, 0, ENV_KERNEL_GS_BASE + 8 - ENV_STAR)
    u32(env, ENV_SYSENTER_CS)[0] = 0
    u64(env, ENV_SYSENTER_ESP)[0] = 0
    u64(env, ENV_SYSENTER_EIP)[0] = 0
    u64(env, ENV_PAT)[0] = 0x0007040600070406ULL
    u64(env, ENV_XCR0)[0] = 1
    memset(env + ENV_DR, 0, 64)
    u64(env, ENV_DR + 48)[0] = 0xFFFF0FF0ULL
    u64(env, ENV_DR + 56)[0] = 0x400
    u32(env, ENV_OLD_EXCEPTION)[0] = <uint32_t>-1
    u32(env, ENV_EXCEPTION_IS_INT)[0] = 0
    u64(env, ENV_VMCB)[0] = PRIVATE_BASE
    # CR8 belongs to the local APIC; the library neither checks CR4 nor keeps globals over CR3.
    (<uint16_t *>(env + ENV_INTERCEPT_CR_READ))[0] = 1 << 8
    (<uint16_t *>(env + ENV_INTERCEPT_CR_WRITE))[0] = ALWAYS_INTERCEPTED
    u64(env, ENV_INTERCEPT)[0] = usual_intercepts(spin_exits)
    derive_hflags(env)


cdef void sweep_entry(uint8_t *entry, uint8_t state) noexcept:
    # Takes from a TLB entry the right that its page does not have at present.
    if state & PAGE_HAS_CODE:
        if not u64(entry, ENTRY_WRITE)[0] & TLB_INVALID or marks_of(entry) & MARKED_WRITE:
            u64(entry, ENTRY_WRITE)[0] = NEVER
            u64(entry, ENTRY_OWN)[0] &= ~<uint64_t>MARKED_WRITE
    else:
        u64(entry, ENTRY_CODE)[0] = NEVER
        u64(entry, ENTRY_OWN)[0] &= ~<uint64_t>MARKED_CODE


cdef void sweep(uint8_t *tlb, uint8_t *pages, uint64_t ram_size, uint64_t only) noexcept:
    # Sweeps the entries of one page of RAM, or with NEVER those of every page.
    cdef int mode
    cdef uint64_t index, count, page
    cdef uint8_t *entry
    for mode in range(TLB_MODES):
        count = (u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0] >> ENTRY_SHIFT) + 1
        entry = <uint8_t *>(u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
        for index in range(count + TLB_VICTIMS):
            if index == count:
                entry = (
                    tlb + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_VICTIMS
                )
            page = u64(entry, ENTRY_PHYSICAL)[0]
            if page < ram_size and (page == only or only == NEVER):
                sweep_entry(entry, pages[page >> 12])
            entry += ENTRY_SIZE


cdef void keep_tlb_size(uint8_t *tlb) noexcept:
    # The library shrinks its tables by the host's clock. What a guest finds in its TLB must not
    # depend on that: the moment from which it counts is put far into the future.
    cdef int mode
    for mode in range(TLB_MODES):
        u64(tlb, TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_WINDOW)[0] = (
            <uint64_t>1 << 62
        )


cdef bint drop_local(uint8_t *cs, uint8_t *entry) noexcept:
    # Empties a TLB entry unless its page is global; returns whether it was in use.
    cdef uint64_t code = u64(entry, ENTRY_CODE)[0]
    if u64(entry, ENTRY_OWN)[0] & OWN_GLOBAL or (
        code == NEVER and u64(entry, ENTRY_READ)[0] == NEVER and u64(entry, ENTRY_WRITE)[0] == NEVER
    ):
        return False
    if code != NEVER:
        tb_flush_jmp_cache_x86_64(cs, code & ~<uint64_t>0xFFF)
    memset(entry, 0xFF, ENTRY_SIZE)
    return True


cdef void free_tlb(uint8_t *tlb) noexcept:
    # Two arrays for each mode, made by the library with malloc.
    cdef int mode
    for mode in range(TLB_MODES):
        free(<void *>(u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0]))
        free(<void *>(u64(tlb, TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + 688)[0]))


cdef void drop_breakpoints(uint8_t *cs, uint8_t *env) noexcept:
    # What the library has made of the debug registers of a context.
    cdef int index
    cdef uint64_t *pointer
    for index in range(BREAKPOINTS):
        pointer = u64(env, ENV_BREAKPOINTS + 8 * index)
        if pointer[0]:
            cpu_breakpoint_remove_by_ref_x86_64(cs, <void *>pointer[0])
            pointer[0] = 0


cdef uint64_t breakpoints_at(uint8_t *env, uint64_t address) noexcept:
    # Which of the debug registers of a context stop execution at an address, a bit each.
    cdef uint64_t controls = u64(env, ENV_DR + 56)[0]
    cdef uint64_t found = 0
    cdef int number
    for number in range(4):
        if (
            u64(env, ENV_DR + 8 * number)[0] == address
            and controls >> 2 * number & 3
            and not controls >> (16 + 4 * number) & 3
        ):
            found |= <uint64_t>1 << number
    return found
