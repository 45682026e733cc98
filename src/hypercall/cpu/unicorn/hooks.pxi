# The hooks themselves. None of them holds a Python reference when it calls what may longjmp:
# whatever touches Python objects happens in an Engine method that has returned by then.


cdef void on_block(uc_engine *uc, uint64_t address, uint32_t size, void *data) noexcept nogil:
    cdef Progress *progress = <Progress *>data
    if progress.count >= progress.limit and not look_at_block(progress, address, size):
        return
    progress.count += size
    if not u32(progress.env, ENV_TR + 20)[0] & SEGMENT_PRESENT:
        mend_task(progress.env)
    if u64(progress.env, ENV_EFLAGS)[0] & RESUME_FLAG:
        # It holds for the first instruction only, and PUSHF must not show it after that one.
        u64(progress.env, ENV_EFLAGS)[0] &= ~<uint64_t>RESUME_FLAG
    if size == 2 or size == 3:
        # Through a pointer, so that the compiler keeps it out of this small function.
        progress.repeat(progress, address, size)


cdef void on_translated(uc_engine *uc, uc_tb *block, uc_tb *previous, void *data) noexcept:
    cdef Engine engine = <Engine>data
    engine.statistics.translated_blocks += 1
    engine.statistics.translated_bytes += block.size
    engine.statistics.translated_instructions += block.icount


cdef int serve_exception(void *data, uint32_t number) noexcept:
    # Returns whether an exception is to be delivered, whose vector is then in place.
    cdef Engine engine = <Engine>data
    cdef int vector
    # What was left of the block is not executed, or begins a block of its own.
    engine.debug.paid_end = 0
    if number < EXIT_BASE:
        if number == 1 and engine.passes_breakpoint():
            return 0
        engine.statistics.exceptions += 1
        # Or a guest that only faults would not reach its limit of virtual time.
        engine.progress.count += EXIT_TIME
        # What was being delivered ends here, with the guest's own exception.
        engine.contexts[engine.current].delivering = -1
        if u32(engine.env, ENV_EXCEPTION_IS_INT)[0]:
            engine.begin_again(number)
        return 1
    vector = engine.serve_exit(number)
    if vector < 0:
        return 0
    u32(engine.cs, CS_EXCEPTION_INDEX)[0] = vector
    u32(engine.env, ENV_EXCEPTION_IS_INT)[0] = 0
    return 1


cdef void deliver_exception(uint8_t *cs) noexcept:
    # The library pushes RFLAGS as they are; in those of a fault RF is set (SDM, RF flag).
    cdef uint8_t *env = <uint8_t *>(u64(cs, CS_ENV)[0])
    cdef uint32_t vector = u32(cs, CS_EXCEPTION_INDEX)[0]
    mend_task(env)
    if vector < 32 and not u32(env, ENV_EXCEPTION_IS_INT)[0] and FAULTS >> vector & 1:
        u64(env, ENV_EFLAGS)[0] |= RESUME_FLAG
    x86_cpu_do_interrupt_x86_64(cs)


cdef void on_exception(uc_engine *uc, uint32_t number, void *data) noexcept:
    cdef uint8_t *cs = <uint8_t *>(u64(uc, UC_CPU)[0])
    if serve_exception(data, number):
        deliver_exception(cs)
        u32(<uint8_t *>(u64(cs, CS_ENV)[0]), ENV_EXCEPTION_IS_INT)[0] = 0


cdef int serve_undefined(void *data) noexcept:
    return (<Engine>data).serve_undefined()


cdef bint on_undefined(uc_engine *uc, void *data) noexcept:
    cdef uint8_t *cs = <uint8_t *>(u64(uc, UC_CPU)[0])
    cdef uint8_t *env = <uint8_t *>(u64(cs, CS_ENV)[0])
    cdef int vector
    if u32(env, ENV_EXCEPTION_IS_INT)[0]:
        # INT 6, which the library takes for an undefined opcode and has not moved on from.
        u64(env, ENV_EIP)[0] = u64(env, ENV_EXCEPTION_NEXT_RIP)[0]
        on_exception(uc, 6, data)
        return True
    vector = serve_undefined(data)
    if vector >= 0:
        u32(cs, CS_EXCEPTION_INDEX)[0] = vector
        u32(env, ENV_EXCEPTION_IS_INT)[0] = 0
        deliver_exception(cs)
    return True


cdef bint on_unmapped(uc_engine *uc, int kind, uint64_t address, int size, int64_t value,
                      void *data) noexcept:
    return False


cdef uint32_t on_port_read(uc_engine *uc, uint32_t port, int size, void *data) noexcept:
    return <uint32_t>(<Engine>data).read_port(port, size)


cdef void on_port_write(uc_engine *uc, uint32_t port, int size, uint32_t value,
                        void *data) noexcept:
    (<Engine>data).write_port(port, size, value)


cdef void on_syscall(uc_engine *uc, void *data) noexcept:
    # The library itself only moves RIP by the two bytes of the instruction.
    cdef uint8_t *cs = <uint8_t *>(u64(uc, UC_CPU)[0])
    cdef uint8_t *env = <uint8_t *>(u64(cs, CS_ENV)[0])
    cdef uint64_t flags = full_flags(env, True)
    cdef uint64_t mask = u64(env, ENV_FMASK)[0]
    cdef uint32_t selector = <uint32_t>(u64(env, ENV_STAR)[0] >> 32) & 0xFFFC
    cdef uint8_t *code = env + ENV_SEGMENTS + 24
    cdef uint8_t *stack = env + ENV_SEGMENTS + 48
    cdef bint long_mode = (u32(env, ENV_HFLAGS)[0] & HF_LMA) != 0
    cdef bint wide = (u32(env, ENV_HFLAGS)[0] & HF_CS64) != 0
    cdef uint64_t target
    if not u64(env, ENV_EFER)[0] & 1:
        raise_exception_err_ra_x86_64(env, 6, 0, 0)
    u64(env, ENV_REGS + 8)[0] = u64(env, ENV_EIP)[0] + 2
    if long_mode:
        u64(env, ENV_REGS + 88)[0] = flags
        target = u64(env, ENV_LSTAR)[0] if wide else u64(env, ENV_CSTAR)[0]
    else:
        target = u64(env, ENV_STAR)[0] & 0xFFFFFFFFULL
        mask = 0x20200  # RF is kept clear; VM and IF are cleared
    flags &= ~(mask | 0x10000)
    u64(env, ENV_EFLAGS)[0] = flags | 2
    u32(code, 0)[0] = selector
    u64(code, 8)[0] = 0
    u32(code, 16)[0] = 0xFFFFFFFFULL
    u32(code, 20)[0] = 0xA09B00 if long_mode else 0xC09B00
    u32(stack, 0)[0] = (selector + 8) & 0xFFFF
    u64(stack, 8)[0] = 0
    u32(stack, 16)[0] = 0xFFFFFFFFULL
    u32(stack, 20)[0] = 0xC09300
    derive_hflags(env)
    split_flags(env)
    u64(env, ENV_EIP)[0] = target - 2


cdef void time_stamp(Engine engine) noexcept:
    cdef uint64_t value
    # A loop that only reads the counter must see it move.
    engine.progress.count += 16
    value = engine.now() + <uint64_t>engine.contexts[engine.current].time_stamp_offset
    u64(engine.env, ENV_REGS)[0] = value & 0xFFFFFFFFULL
    u64(engine.env, ENV_REGS + 16)[0] = value >> 32


cdef int on_time_stamp(uc_engine *uc, void *data) noexcept:
    time_stamp(<Engine>data)
    return 1


cdef int on_time_stamp_p(uc_engine *uc, void *data) noexcept:
    cdef Engine engine = <Engine>data
    time_stamp(engine)
    u64(engine.env, ENV_REGS + 8)[0] = u32(engine.env, ENV_TSC_AUX)[0]
    return 1


cdef uint64_t void_read(uc_engine *uc, uint64_t offset, unsigned int size, void *data) noexcept:
    return NEVER


cdef void void_write(uc_engine *uc, uint64_t offset, unsigned int size, uint64_t value,
                     void *data) noexcept:
    pass


cdef uint64_t device_read(uc_engine *uc, uint64_t offset, unsigned int size, void *data) noexcept:
    cdef DevicePage page = <DevicePage>data
    return (<Engine>page.engine).read_device(page.gpa + (offset & 0xFFF), size)


cdef void device_write(uc_engine *uc, uint64_t offset, unsigned int size, uint64_t value,
                       void *data) noexcept:
    cdef DevicePage page = <DevicePage>data
    (<Engine>page.engine).write_device(page.gpa + (offset & 0xFFF), size, value)


cdef int fill_for(void *data, uint64_t address, int access, int mode, bint probe, uintptr_t back,
                  int *error) noexcept:
    return (<Engine>data).fill(address, access, mode, probe, back, error)


cdef bint watched_for(void *data, uint64_t address, int size, int access,
                      uintptr_t back) noexcept:
    # Whether an access touches a watchpoint from code that cannot be left behind it.
    cdef Engine engine = <Engine>data
    return (
        engine.debug.watch_count != 0
        and not engine.debug.watches_closely
        and back != 0
        and watch_matches(&engine.debug, address, size, access)
    )


cdef void leave_for(void *data, uintptr_t back) noexcept:
    # Between this function and the library there is no Python reference.
    restart_closely(&(<Engine>data).progress, back)


cdef void restart_closely(Progress *progress, uintptr_t back) noexcept nogil:
    cdef Debug *debug = progress.debug
    uc_emu_stop(progress.uc)
    cpu_restore_state_x86_64(progress.cs, back, True)
    debug.restart = True
    debug.enters = True
    debug.paid_next = u64(progress.env, ENV_EIP)[0] + u64(progress.env, ENV_SEGMENTS + 32)[0]
    debug.paid_end = debug.block_end
    debug.passes = True
    debug.pass_at = debug.paid_next
    cpu_loop_exit_noexc_x86_64(progress.cs)


cdef void filled_for(void *data, uint64_t address, int size, int access, int mode,
                     bint probe) noexcept:
    cdef Engine engine = <Engine>data
    cdef uint8_t *slot
    cdef int kinds
    if engine.debug.watch_count == 0:
        return
    if not probe and not engine.debug.watch_hit:
        engine.debug.watch_hit = watch_matches(&engine.debug, address, size, access)
    kinds = kinds_watched(&engine.debug, address)
    if kinds:
        slot = tlb_entry(engine.cs, mode, address)
        hide_entry(slot, kinds)
        if access == 1 and kinds & WATCH_READ and u64(slot, ENTRY_READ)[0] != NEVER:
            # What the library reads and writes at once it must also be able to read.
            u64(slot, ENTRY_READ)[0] &= ~<uint64_t>TLB_INVALID
            engine.debug.rearm = True
            engine.debug.rearm_mode = mode
            engine.debug.rearm_address = address


cdef bint fill_translation(void *cs, uint64_t address, int size, int access, int mode, bint probe,
                           uintptr_t back) noexcept:
    # Takes the place of the library's own walker.
    cdef uint8_t *cpu_class = <uint8_t *>(u64(cs, CS_CLASS)[0])
    cdef void *engine = <void *>(u64(cpu_class, CLASS_TLB_FILL_CPU)[0])
    cdef int error = 0
    cdef int vector
    if access != 2 and not probe and watched_for(engine, address, size, access, back):
        # The instruction is begun anew in code that can be left behind it.
        leave_for(engine, back)
    vector = fill_for(engine, address, access, mode, probe, back, &error)
    if vector == 0:
        if access != 2:
            filled_for(engine, address, size, access, mode, probe)
        return True
    if not probe:
        raise_exception_err_ra_x86_64(<void *>(u64(cs, CS_ENV)[0]), vector, error, back)
    return False


cdef int acknowledge_for(void *data) noexcept:
    cdef Engine engine = <Engine>data
    cdef int vector = engine.acknowledge()
    if vector >= 0:
        delivers(data, vector)
    return vector


cdef void delivers(void *data, int vector) noexcept:
    cdef Engine engine = <Engine>data
    engine.statistics.interrupts += 1
    # If the delivery is abandoned half-way, it must be made again.
    engine.contexts[engine.current].delivering = vector
    engine.contexts[engine.current].delivering_exception = False


cdef void delivered(void *data) noexcept:
    cdef Engine engine = <Engine>data
    engine.contexts[engine.current].delivering = -1


cdef int injected_for(void *data, bint *from_hardware) noexcept:
    # Puts the injected event in place and returns its vector.
    cdef Engine engine = <Engine>data
    cdef Context *context = engine.contexts[engine.current]
    cdef int vector = context.injected
    u32(engine.cs, CS_INTERRUPT_REQUEST)[0] &= ~<uint32_t>REQUEST_INJECTED
    context.injected = -1
    if vector < 0:
        return -1
    from_hardware[0] = context.injected_from_hardware
    context.delivering = vector
    context.delivering_exception = not context.injected_from_hardware
    if context.delivering_exception:
        u32(engine.cs, CS_EXCEPTION_INDEX)[0] = vector
        u32(engine.env, ENV_ERROR_CODE)[0] = context.injected_error
        u32(engine.env, ENV_EXCEPTION_IS_INT)[0] = 0
    return vector


cdef bint held_for(void *data) noexcept:
    # Whether the run goes on in the middle of a block, where an unbroken run takes no interrupt.
    cdef Engine engine = <Engine>data
    if engine.debug.paid_end == 0:
        return False
    engine.debug.held = True
    return True


cdef bint take_interrupt(void *cs, int request) noexcept:
    # Takes the place of the library's delivery, which knows no interrupt controller.
    cdef uint8_t *env = <uint8_t *>(u64(cs, CS_ENV)[0])
    cdef void *engine = <void *>(u64(<uint8_t *>(u64(cs, CS_CLASS)[0]), CLASS_TLB_FILL_CPU)[0])
    cdef int vector
    cdef bint from_hardware = False
    if held_for(engine):
        return False
    mend_task(env)
    if request & REQUEST_INJECTED:
        vector = injected_for(engine, &from_hardware)
        if vector >= 0 and from_hardware:
            do_interrupt_x86_hardirq_x86_64(env, vector, 1)
            delivered(engine)
            return True
        if vector >= 0:
            deliver_exception(<uint8_t *>cs)
            delivered(engine)
            u32(cs, CS_EXCEPTION_INDEX)[0] = <uint32_t>-1
            return True
    if (
        request & REQUEST_NMI
        and not u32(env, ENV_HFLAGS2)[0] & HF2_NMI
        and not u32(env, ENV_HFLAGS)[0] & HF_INHIBIT
    ):
        u32(cs, CS_INTERRUPT_REQUEST)[0] &= ~<uint32_t>REQUEST_NMI
        u32(env, ENV_HFLAGS2)[0] |= HF2_NMI
        delivers(engine, 2)
        do_interrupt_x86_hardirq_x86_64(env, 2, 1)
        delivered(engine)
        return True
    if (
        request & REQUEST_HARD
        and u64(env, ENV_EFLAGS)[0] & INTERRUPT_FLAG
        and not u32(env, ENV_HFLAGS)[0] & HF_INHIBIT
    ):
        vector = acknowledge_for(engine)
        if vector < 0:
            u32(cs, CS_INTERRUPT_REQUEST)[0] &= ~<uint32_t>REQUEST_HARD
            return False
        do_interrupt_x86_hardirq_x86_64(env, vector, 1)
        delivered(engine)
        return True
    return False
