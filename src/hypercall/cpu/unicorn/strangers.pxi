# The state of an engine that a stranger's file tells, made into one that this engine could have.
#
# What a guest could do by itself is let through: it harms nobody but the guest. Everything that
# the library follows without a look is derived anew: host addresses, indexes of its own tables,
# what makes it leave the guest. A state that this module has saved comes out as it went in, but
# for the host addresses in it, marks of audits, and translations of device pages.


cdef enum:
    # What an address of the host is saved as: the offset of a page, and what it is an offset in.
    SAVED_IN_RAM = 1
    SAVED_IN_ARENA = 2
    SAVED_ELSEWHERE = 3
    # An entry of a saved TLB: its index, the entry, its place in the engine's physical map.
    SAVED_ENTRY = 8 + ENTRY_SIZE + IOTLB_SIZE
    LARGEST_TLB = 1 << 22
    # How many entries the TLBs of all contexts may have together; larger ones are cut.
    MOST_STRANGE_ENTRIES = 1 << 22
    SMALLEST_TLB = 256


cdef uint8_t *own_bytes(bytearray data) except NULL:
    # The bytes of an array that is not to change its length any more.
    cdef uint8_t[::1] view = data
    if view.shape[0] == 0:
        raise ValueError("a part of it is empty")
    return &view[0]


cdef void clamp_float_status(uint8_t *status) noexcept:
    # The library ends the process for a rounding mode that there is not.
    status[0] &= 1
    if status[1] > 3:
        status[1] = 0
    if status[3] != 0 and status[3] != 32 and status[3] != 64:
        status[3] = 80
    cdef int index
    for index in range(4, 8):
        status[index] &= 1


cdef class Strangers(Debugger):
    """Makes a saved state safe to be restored."""

    def made_safe(self, dict saved):
        """A stranger's state, of the right sizes, as this engine could have it.

        Args:
            saved: what ``save`` of another engine returned, or somebody made up.

        Raises:
            ValueError: it cannot be made safe.
        """
        cdef int count = len(saved["contexts"])
        cdef uint64_t room = max(MOST_STRANGE_ENTRIES // (count * TLB_MODES), SMALLEST_TLB)
        if count > self.context_count * self.table_count:
            raise ValueError("it has more contexts than its machine can have")
        safe = dict(saved)
        safe["contexts"] = [
            {
                "state": self.safe_state(each["state"], each["fields"]),
                "fields": self.safe_fields(each["fields"]),
                "tlb": self.safe_tlb(each["tlb"], room),
            }
            for each in saved["contexts"]
        ]
        for table in saved["tables"]:
            self.check_table(table)
        safe["msr_map"] = self.safe_msr_map(saved["msr_map"])
        safe["pages"] = saved["pages"].translate(bytes(each & 0xF for each in range(256)))
        return safe

    cdef bytes safe_state(self, bytes given, bytes fields):
        cdef bytearray made = bytearray(given)
        cdef uint8_t *env = own_bytes(made)
        cdef uint64_t intercept
        cdef Context context
        cdef const uint8_t *source = fields
        memcpy(&context.interrupt_request, source, context_field_size())
        prepare_state(env)
        u32(env, ENV_HFLAGS2)[0] &= HF2_GIF | HF2_NMI
        u64(env, ENV_EFLAGS)[0] = (u64(env, ENV_EFLAGS)[0] & 0x3F7FD5) | 2
        join_from_full(env)
        u32(env, ENV_FPUS - 4)[0] &= 7
        clamp_float_status(env + ENV_FP_STATUS)
        clamp_float_status(env + ENV_MMX_STATUS)
        clamp_float_status(env + ENV_SSE_STATUS)
        u64(env, ENV_CR + 32)[0] &= DEFINED_CR4
        u32(env, ENV_A20_MASK)[0] = <uint32_t>-1
        u64(env, ENV_HOST_SAVE)[0] = 0
        u32(env, ENV_EXCEPTION_IS_INT)[0] &= 1
        memset(env + ENV_BREAKPOINTS, 0, BREAKPOINTS * 8)
        derive_hflags(env)
        mend_task(env)
        intercept = u64(env, ENV_INTERCEPT)[0] & (
            (<uint64_t>1 << (EXIT_GDTR_WRITE - 0x160))
            | (<uint64_t>1 << (EXIT_IDTR_WRITE - 0x160))
            | (<uint64_t>1 << (EXIT_LDTR_WRITE - 0x160))
            | (<uint64_t>1 << (EXIT_TR_WRITE - 0x160))
        )
        u64(env, ENV_INTERCEPT)[0] = intercept | usual_intercepts(self.spin_exits)
        if self.audits:
            intercept_flushes(env)
        (<uint16_t *>(env + ENV_INTERCEPT_CR_READ))[0] = 1 << 8
        (<uint16_t *>(env + ENV_INTERCEPT_CR_WRITE))[0] = <uint16_t>(
            context.control_intercepts | ALWAYS_INTERCEPTED
        )
        # Further intercepts, nested paging, and an address of the host's code.
        memset(env + ENV_INTERCEPT_DR_READ, 0, CONTEXT_SIZE - ENV_INTERCEPT_DR_READ)
        return bytes(made)

    cdef bytes safe_fields(self, bytes given):
        cdef Context context
        cdef const uint8_t *source = given
        cdef uint32_t index
        memcpy(&context.interrupt_request, source, context_field_size())
        context.interrupt_request &= REQUEST_HARD | REQUEST_NMI | REQUEST_INJECTED
        if not (
            0 <= context.table < self.table_count
            and 0 <= context.pending <= PENDING_FLUSHES
            and -1 <= context.injected < 256
            and -1 <= context.delivering < 256
        ):
            raise ValueError("a context of it is damaged")
        for index in range(min(context.local_count, <uint32_t>LOCAL_FILLS)):
            if context.local[index] >> 30 >= TLB_MODES:
                raise ValueError("a context of it is damaged")
        context.flush_all = context.flush_all != 0
        context.sweep = context.sweep != 0
        context.injected_from_hardware = context.injected_from_hardware != 0
        context.delivering_exception = context.delivering_exception != 0
        context.user_execution = context.user_execution != 0
        # The marks are taken away from the entries too.
        context.marks = False
        return (<char *>&context.interrupt_request)[:context_field_size()]

    cdef check_table(self, bytes table):
        cdef const uint8_t *source = table
        cdef uint64_t *entries = <uint64_t *>source
        cdef uint64_t page
        for page in range(self.table_pages):
            if not self.is_entry(entries[page]):
                raise ValueError("a table of guest-physical memory is damaged")

    cdef bytes safe_msr_map(self, bytes given):
        # Which of the processor's own MSRs exit; all others always do.
        cdef bytearray made = bytearray(b"\xff" * (3 * PAGE))
        cdef uint32_t bit
        for msr in NATIVE_MSRS:
            bit = (msr if msr < 0x2000 else 8192 + (msr & 0x1FFF)) * 2
            if given[bit // 8] >> (bit % 8) & 3 != 3:
                # The library does not look at what is written to those that hold addresses.
                made[bit // 8] &= ~((1 if msr in ADDRESS_MSRS else 3) << (bit % 8)) & 0xFF
        return bytes(made)

    cdef bytes safe_tlb(self, bytes given, uint64_t room):
        cdef bytearray made = bytearray(given)
        cdef uint8_t *tlb = own_bytes(made)
        cdef uint8_t *descriptor
        cdef uint8_t *entry
        cdef uint64_t masks[TLB_MODES]
        cdef uint64_t length = len(given), at = TLB_SIZE, to = TLB_SIZE, mask, count, index
        cdef int mode, victim
        (<uint16_t *>tlb)[0] &= (1 << TLB_MODES) - 1
        for mode in range(TLB_MODES):
            mask = u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0]
            count = (mask >> ENTRY_SHIFT) + 1
            if count > LARGEST_TLB or count & (count - 1) or mask & (ENTRY_SIZE - 1):
                raise ValueError("a TLB of it is damaged")
            while count > room:
                count >>= 1
            masks[mode] = count - 1
            u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0] = masks[mode] << ENTRY_SHIFT
            u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0] = 0
            descriptor = tlb + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE
            u64(descriptor, DESCRIPTOR_IOTLB)[0] = 0
            # By these the library chooses how large the table is to be.
            for index in range(TLB_DESCRIPTOR_WINDOW + 8, TLB_DESCRIPTOR_USED + 8, 8):
                u64(descriptor, index)[0] = min(u64(descriptor, index)[0], count)
            for victim in range(TLB_VICTIMS):
                self.make_entry_safe(
                    descriptor + TLB_DESCRIPTOR_VICTIMS + victim * ENTRY_SIZE,
                    descriptor + DESCRIPTOR_VICTIM_IOTLB + victim * IOTLB_SIZE,
                )
        while at + SAVED_ENTRY <= length:
            memcpy(tlb + to, tlb + at, SAVED_ENTRY)
            at += SAVED_ENTRY
            mode = u64(tlb, to)[0] >> 60
            if mode >= TLB_MODES:
                continue
            entry = tlb + to + 8
            self.make_entry_safe(entry, entry + ENTRY_SIZE)
            if is_empty(entry):
                continue
            index = page_of(entry) >> 12 & masks[mode]
            u64(tlb, to)[0] = <uint64_t>mode << 60 | index
            to += SAVED_ENTRY
        return bytes(made[:to])

    cdef void make_entry_safe(self, uint8_t *entry, uint8_t *place):
        # Leaves an entry that leads to RAM or to an overlay page, or none.
        cdef uint64_t page, offset, saved, backing
        cdef int access
        if is_empty(entry):
            memset(entry, 0xFF, ENTRY_SIZE)
            memset(place, 0, IOTLB_SIZE)
            return
        unmark(entry)
        page = page_of(entry)
        saved = u64(entry, ENTRY_ADDEND)[0]
        offset = saved & ~<uint64_t>0xFFF
        if saved & 0xFFF == SAVED_IN_RAM and offset < self.ram_size:
            u64(entry, ENTRY_PHYSICAL)[0] = offset
            backing = offset
        elif saved & 0xFFF == SAVED_IN_ARENA and offset < self.arena_size:
            u64(entry, ENTRY_PHYSICAL)[0] = ARENA_BASE + offset
            # The library numbers its memory blocks from multiples of 64 pages.
            backing = ((self.ram_size + 64 * PAGE - 1) & ~<uint64_t>(64 * PAGE - 1)) + offset
        else:
            # A device, or a lie.
            memset(entry, 0xFF, ENTRY_SIZE)
            memset(place, 0, IOTLB_SIZE)
            return
        for access in range(3):
            saved = u64(entry, 8 * access)[0]
            if saved == NEVER:
                continue
            # All three are added to one distance, so they must be of one page; and flags would
            # lead the library to its own structures.
            if access == 1:
                saved &= ~<uint64_t>(TLB_INVALID | TLB_NOTDIRTY)
            if saved != page:
                memset(entry, 0xFF, ENTRY_SIZE)
                memset(place, 0, IOTLB_SIZE)
                return
        u64(entry, ENTRY_OWN)[0] &= OWN_GLOBAL | STALE_TOLD
        u64(place, 0)[0] = backing - page
        u64(place, 8)[0] = 0


cdef bint is_empty(uint8_t *entry) noexcept:
    return (
        u64(entry, ENTRY_READ)[0] == NEVER
        and u64(entry, ENTRY_WRITE)[0] == NEVER
        and u64(entry, ENTRY_CODE)[0] == NEVER
    )


cdef size_t context_field_size() noexcept:
    # All of a context but the two pointers at its beginning.
    return sizeof(Context) - (<size_t>&(<Context *>0).interrupt_request)
