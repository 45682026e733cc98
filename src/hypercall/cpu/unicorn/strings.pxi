# REP STOS and REP MOVS, which the library executes one block an iteration, done a page at a time.


cdef inline uint8_t *tlb_entry(uint8_t *cs, int mode, uint64_t address) noexcept nogil:
    cdef uint8_t *fast = cs + CS_TLB + TLB_FAST + mode * TLB_FAST_SIZE
    cdef uint64_t index = (address >> 12) & (u64(fast, 0)[0] >> ENTRY_SHIFT)
    return <uint8_t *>(u64(fast, 8)[0]) + index * ENTRY_SIZE


cdef inline uint8_t *tlb_pointer(uint8_t *cs, int mode, uint64_t address, int right) noexcept nogil:
    # Where a page lies in host memory, if the TLB has it and its accesses need no attention.
    cdef uint8_t *entry = tlb_entry(cs, mode, address)
    if u64(entry, right)[0] != address & ~<uint64_t>0xFFF:
        return NULL
    return <uint8_t *>(u64(entry, ENTRY_ADDEND)[0] + address)


cdef inline int mmu_mode(uint8_t *env) noexcept nogil:
    cdef uint32_t hflags = u32(env, ENV_HFLAGS)[0]
    if hflags & HF_CPL == 3:
        return MMU_USER
    if not hflags & HF_SMAP or u64(env, ENV_EFLAGS)[0] & 0x40000:
        return MMU_KERNEL
    return MMU_KERNEL_SMAP


cdef void repeat_string(Progress *progress, uint64_t address, uint32_t size) noexcept nogil:
    # The block about to run is 2 to 4 bytes long. If it is a repeated string instruction, does
    # all its iterations in this page but the last, which the library then executes itself. The
    # count moves as if each had run, and never past the limit.
    cdef uint8_t *cs = progress.cs
    cdef uint8_t *env = progress.env
    cdef uint8_t *code
    cdef uint8_t *target
    cdef uint8_t *source = NULL
    cdef int mode, width
    cdef uint32_t at = 1
    cdef uint64_t times, room, value, index
    if not u32(env, ENV_HFLAGS)[0] & HF_CS64:
        return
    mode = mmu_mode(env)
    code = tlb_pointer(cs, mode, address, ENTRY_CODE)
    if code == NULL or code[0] != 0xF3 or (address & 0xFFF) + size > PAGE:
        return
    width = 4
    if code[1] == 0x48:
        width = 8
        at = 2
    if at + 1 != size:
        return
    if code[at] & 1 == 0:
        width = 1
    if code[at] | 1 != 0xAB and code[at] | 1 != 0xA5:
        return
    times = u64(env, ENV_REGS + 8)[0]
    if times < 3 or <int32_t>u32(env, ENV_DF)[0] < 0:
        return
    times -= 1
    room = progress.turn_limit - progress.count if progress.turn_limit > progress.count else 0
    room //= size
    if times > room:
        times = room
    target = tlb_pointer(cs, mode, u64(env, ENV_REGS + 56)[0], ENTRY_WRITE)
    if target == NULL:
        return
    room = (PAGE - (u64(env, ENV_REGS + 56)[0] & 0xFFF)) // width
    if times > room:
        times = room
    if code[at] | 1 == 0xA5:
        source = tlb_pointer(cs, mode, u64(env, ENV_REGS + 48)[0], ENTRY_READ)
        if source == NULL:
            return
        room = (PAGE - (u64(env, ENV_REGS + 48)[0] & 0xFFF)) // width
        if times > room:
            times = room
    if times == 0:
        return
    if source == NULL:
        value = u64(env, ENV_REGS)[0]
        if width == 1 or value == 0:
            memset(target, value & 0xFF, times * width)
        elif width == 8:
            for index in range(times):
                u64(target, index * 8)[0] = value
        else:
            for index in range(times):
                u32(target, index * 4)[0] = <uint32_t>value
    elif target >= source + times * width or source >= target + times * width:
        memcpy(target, source, times * width)
        u64(env, ENV_REGS + 48)[0] += times * width
    else:
        # Each iteration may read what an earlier one has written.
        for index in range(times * width):
            if width == 8 and index & 7 == 0:
                u64(target, index)[0] = u64(source, index)[0]
            elif width == 4 and index & 3 == 0:
                u32(target, index)[0] = u32(source, index)[0]
            elif width == 1:
                target[index] = source[index]
        u64(env, ENV_REGS + 48)[0] += times * width
    u64(env, ENV_REGS + 56)[0] += times * width
    u64(env, ENV_REGS + 8)[0] -= times
    progress.count += times * size
