# Instructions that the library cannot carry out, or not rightly: done here, byte by byte.


cdef bint loads_stack_segment(uint8_t *code) noexcept:
    # Whether six bytes end in POP SS, or in MOV SS from a register or from memory without SIB.
    if code[5] == 0x17:
        return True
    if code[4] == 0x8E and code[5] & 0xF8 in (0x10, 0xD0):
        return True
    if code[3] == 0x8E and code[4] & 0xF8 == 0x50:
        return True
    return code[0] == 0x8E and (code[1] & 0xF8 == 0x90 or code[1] == 0x15)


cdef class Instructions(Saved):
    """Carries out instructions of the running context, and goes behind them."""

    cdef int leave_instruction(self, int length):
        # Goes behind an instruction that this module has carried out; returns the vector of the
        # trap that follows it, or -1.
        u64(self.env, ENV_EIP)[0] += length
        u32(self.env, ENV_HFLAGS)[0] &= ~<uint32_t>HF_INHIBIT
        if not u64(self.env, ENV_EFLAGS)[0] & TRAP_FLAG:
            return -1
        u64(self.env, ENV_DR + 48)[0] |= SINGLE_STEP
        u32(self.env, ENV_ERROR_CODE)[0] = 0
        return 1

    cdef bint is_breakpoint_elsewhere(self, uint64_t rip):
        # Whether a debug exception comes of the debug registers of contexts that do not run.
        cdef int index
        if u32(self.env, ENV_EXCEPTION_IS_INT)[0] or u64(self.env, ENV_EFLAGS)[0] & TRAP_FLAG:
            return False
        for index in range(self.context_count):
            if index != self.current and breakpoints_at(self.contexts[index].state, rip):
                return True
        return False

    cdef bint passes_breakpoint(self):
        # Whether a breakpoint at this instruction is held back, for the one before it loaded SS
        # (SDM, masking exceptions when switching stacks); with RF set the instruction executes.
        # The library gives STI the same shadow, hence the look at the code. And it has one list of
        # breakpoints for all contexts: one of another context is none here.
        cdef uint8_t code[6]
        cdef uint64_t rip = u64(self.env, ENV_EIP)[0]
        cdef uint64_t hit = breakpoints_at(self.env, rip)
        cdef int count
        if not hit:
            if not self.is_breakpoint_elsewhere(rip):
                return False
            u64(self.env, ENV_EFLAGS)[0] |= RESUME_FLAG
            return True
        if not u32(self.env, ENV_HFLAGS)[0] & HF_INHIBIT or rip < 6:
            return False
        u64(self.env, ENV_EIP)[0] = rip - 6
        count = self.fetch(code, 6)
        u64(self.env, ENV_EIP)[0] = rip
        if count < 6 or not loads_stack_segment(code):
            return False
        u64(self.env, ENV_DR + 48)[0] &= ~hit
        u64(self.env, ENV_EFLAGS)[0] |= RESUME_FLAG
        return True

    cdef int refuse(self):
        # Lets the instruction end in #GP(0).
        u32(self.env, ENV_ERROR_CODE)[0] = 0
        return 13

    def instruction(self):
        """The bytes at the instruction pointer of the running context, 15 at most."""
        cdef uint8_t code[15]
        cdef int count = self.fetch(code, 15)
        return code[:count]

    cdef int serve_control_write(self) except? -2:
        # MOV to a control register, CLTS or LMSW whose register is intercepted.
        cdef uint8_t code[8]
        cdef int at = 0, register, source
        cdef uint32_t rex = 0
        cdef uint64_t value
        self.fetch(code, 8)
        while at < 3 and (
            code[at] in (0x66, 0xF2, 0xF3, 0x67)
            or (u32(self.env, ENV_HFLAGS)[0] & HF_CS64 and code[at] & 0xF0 == 0x40)
        ):
            if code[at] & 0xF0 == 0x40:
                rex = code[at]
            at += 1
        if code[at + 1] == 0x06:
            register = 0
            value = u64(self.env, ENV_CR)[0] & ~<uint64_t>8
            at += 2
        elif code[at + 1] == 0x22:
            register = (code[at + 2] >> 3) & 7
            if rex & 4:
                register += 8
            source = (code[at + 2] & 7) + (8 if rex & 1 else 0)
            value = u64(self.env, ENV_REGS + 8 * source)[0]
            if not u32(self.env, ENV_HFLAGS)[0] & HF_CS64:
                value &= 0xFFFFFFFFULL
            at += 3
        else:
            source = (code[at + 2] & 7) + (8 if rex & 1 else 0)
            register = 0
            value = (u64(self.env, ENV_CR)[0] & ~<uint64_t>0xE) | (
                u64(self.env, ENV_REGS + 8 * source)[0] & 0xF
            )
            at += 3
        if self.contexts[self.current].control_intercepts >> register & 1:
            if self.exits.control_write(register, value):
                return -1
        if register == 8:
            if value > 15:
                return self.refuse()
            self.progress.count += EXIT_TIME
            self.exits.write_task_priority(value << 4)
        elif register == 4 and (
            value & ~<uint64_t>DEFINED_CR4
            or (
                u64(self.env, ENV_EFER)[0] & LONG_MODE_ACTIVE
                and not value & PHYSICAL_ADDRESS_EXTENSION
            )
        ):
            return self.refuse()
        elif register == 0:
            cpu_x86_update_cr0_x86_64(self.env, <uint32_t>value)
        elif register == 3:
            self.write_cr3(value)
        elif register == 4:
            cpu_x86_update_cr4_x86_64(self.env, <uint32_t>value)
        return self.leave_instruction(at)

    cdef int serve_page_flush(self) except? -2:
        # INVLPG, which exits while there are audits.
        cdef uint8_t code[15]
        cdef int at = 0, count, kind, base, index, scale, segment = -1
        cdef uint32_t rex = 0
        cdef bint wide = (u32(self.env, ENV_HFLAGS)[0] & HF_CS64) != 0
        cdef bint short_address = False
        cdef uint64_t address = 0
        cdef int64_t offset = 0
        count = self.fetch(code, 15)
        while at < count:
            if wide and code[at] & 0xF0 == 0x40:
                rex = code[at]
                at += 1
                break
            if code[at] in (0x64, 0x65):
                segment = code[at] - 0x60
            elif code[at] in (0x26, 0x2E, 0x36, 0x3E):
                segment = (code[at] - 0x26) >> 3
            elif code[at] == 0x67:
                short_address = True
            elif code[at] not in (0x66, 0xF0, 0xF2, 0xF3):
                break
            at += 1
        at += 2
        kind = code[at] >> 6
        base = code[at] & 7
        at += 1
        if not wide and short_address == (
            (u32(self.env, ENV_SEGMENTS + 24 + 20)[0] & 0x400000) != 0
        ):
            # 16-bit addressing: to drop more than one page is allowed, and simpler.
            at += 1 if kind == 1 else 2 if kind == 2 or (kind == 0 and base == 6) else 0
            tlb_flush_x86_64(self.cs)
            return self.leave_instruction(at)
        if base == 4:
            index = (code[at] >> 3 & 7) + (8 if rex & 2 else 0)
            scale = code[at] >> 6
            base = code[at] & 7
            at += 1
            if index != 4:
                address = u64(self.env, ENV_REGS + 8 * index)[0] << scale
            if base == 5 and kind == 0:
                base = -1
        elif base == 5 and kind == 0:
            base = -2 if wide else -1
        if kind == 1:
            offset = <int8_t>code[at]
            at += 1
        elif kind == 2 or base < 0:
            offset = <int32_t>u32(code, at)[0]
            at += 4
        if base >= 0:
            if segment < 0 and not wide and base in (4, 5):
                segment = 2
            base += 8 if rex & 1 else 0
            address += u64(self.env, ENV_REGS + 8 * base)[0]
        elif base == -2:
            address += u64(self.env, ENV_EIP)[0] + at
        address += <uint64_t>offset
        if short_address or not wide:
            address &= 0xFFFFFFFFULL
        if segment < 0 and not wide:
            segment = 3
        if segment >= 4 or (segment >= 0 and not wide):
            address += u64(self.env, ENV_SEGMENTS + 24 * segment + 8)[0]
        if not wide:
            address &= 0xFFFFFFFFULL
        flush_page(self.cs, self.contexts[self.current].marks, address)
        return self.leave_instruction(at)

    cdef int serve_priority_read(self) except? -2:
        # MOV from CR8, or in 32-bit code LOCK MOV from CR0.
        cdef uint8_t code[8]
        cdef int at = 0, target
        cdef uint32_t rex = 0
        cdef uint64_t value = <uint64_t>self.exits.read_task_priority() >> 4
        self.progress.count += EXIT_TIME
        self.fetch(code, 8)
        while at < 4 and code[at] != 0x0F:
            if code[at] & 0xF0 == 0x40:
                rex = code[at]
            at += 1
        target = (code[at + 2] & 7) + (8 if rex & 1 else 0)
        u64(self.env, ENV_REGS + 8 * target)[0] = value
        return self.leave_instruction(at + 3)

    cdef int instruction_length(self, int length):
        cdef uint8_t code[4]
        cdef int prefixes = 0
        if self.fetch(code, 4) < 1:
            return length
        while prefixes < 2 and code[prefixes] in (0xF3, 0xF2, 0x66, 0x67, 0x2E, 0x3E) or (
            prefixes < 2 and code[prefixes] & 0xF0 == 0x40
            and u32(self.env, ENV_HFLAGS)[0] & HF_CS64
        ):
            prefixes += 1
        if code[prefixes] == 0x90:
            return prefixes + 1
        return prefixes + length

    cdef int fetch(self, uint8_t *code, int wanted):
        # Copies the bytes at the instruction pointer; returns how many could be read.
        cdef uint64_t address = u64(self.env, ENV_EIP)[0] + u64(self.env, ENV_SEGMENTS + 24 + 8)[0]
        cdef uint64_t gpa = 0, size = 0
        cdef int protection = 0, error = 0, index
        cdef uint8_t *source
        cdef bint user = (u32(self.env, ENV_HFLAGS)[0] & HF_CPL) == 3
        memset(code, 0, wanted)
        if not u32(self.env, ENV_HFLAGS)[0] & HF_CS64:
            address &= 0xFFFFFFFFULL
        source = tlb_pointer(self.cs, mmu_mode(self.env), address, ENTRY_CODE)
        if source == NULL and self.contexts[self.current].marks:
            source = marked_pointer(self.cs, mmu_mode(self.env), address)
        if source != NULL and (address & 0xFFF) + wanted <= PAGE:
            memcpy(code, source, wanted)
            return wanted
        for index in range(wanted):
            if index == 0 or (address + index) & 0xFFF == 0:
                if self.walk(self.env, address + index, 2, MMU_USER if user else 2, False, &gpa,
                             &protection, &size, &error):
                    return index
                gpa -= index
            source = <uint8_t *>self.paging_entry(gpa + index)
            if source == NULL:
                return index
            code[index] = source[0]
        return wanted

    cdef int serve_undefined(self):
        # Serves an undefined opcode; returns the vector to deliver, or -1.
        cdef uint8_t code[3]
        cdef uint64_t control, first, second, result
        self.debug.paid_end = 0
        cdef bint long_mode
        cdef int mode
        cdef int fetched = self.fetch(code, 3)
        if fetched > 0 and code[0] == 0xF1:
            # INT1, which the library does not know.
            u64(self.env, ENV_EIP)[0] += 1
            return 1
        if (
            fetched < 3
            or code[0] != 0x0F
            or code[1] != 0x01
            or (code[2] != 0xC1 and code[2] != 0xD9)
        ):
            return 6
        self.statistics.hypercalls += 1
        mode = mode_of(self.env)
        long_mode = (mode & 8) != 0
        if long_mode:
            control = u64(self.env, ENV_REGS + 8)[0]
            first = u64(self.env, ENV_REGS + 16)[0]
            second = u64(self.env, ENV_REGS + 64)[0]
        else:
            control = pair(self.env, 2, 0)
            first = pair(self.env, 3, 1)
            second = pair(self.env, 7, 6)
        try:
            answer = self.hypercall_exit(control, first, second, mode)
        except BaseException as error:
            self.fail(error)
            return -1
        if answer is None:
            return -1
        if answer is False:
            return 6
        result = answer
        if long_mode:
            u64(self.env, ENV_REGS)[0] = result
        else:
            u64(self.env, ENV_REGS)[0] = result & 0xFFFFFFFFULL
            u64(self.env, ENV_REGS + 16)[0] = result >> 32
        return self.leave_instruction(3)

    cdef void begin_again(self, uint32_t vector):
        # The library has moved on to behind INT n, INT3 or INTO before it delivers it. A fault of
        # the delivery has to return to the instruction, so goes back; where the delivery returns
        # to is kept elsewhere.
        cdef uint8_t code[2]
        cdef uint64_t after = u64(self.env, ENV_EIP)[0]
        u64(self.env, ENV_EXCEPTION_NEXT_RIP)[0] = after
        u64(self.env, ENV_EIP)[0] = after - 2
        if self.fetch(code, 2) == 2 and code[1] == (0xCC if vector == 3 else 0xCE if vector == 4
                                                    else 0x100):
            u64(self.env, ENV_EIP)[0] = after - 1
