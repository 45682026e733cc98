# Stops for a debugger that leave the run as it would be without them.
#
# Code is translated twice: as usual, and with a hook on each instruction ("closely watched"). The
# library keeps the two apart by the number of the processor's cluster. While anything is to be
# stopped at, each block is looked at when it begins; one in which a stop may be is run closely
# watched. Blocks have the same bounds in both kinds, so time is counted alike. A stop in the
# middle of a block finds the whole block counted; its rest runs without being counted again, and
# without looking at interrupts, for an unbroken run would not look there either.

cdef enum:
    STOP_NONE = 0
    STOP_BREAKPOINT = 1
    STOP_STEP = 2
    STOP_WATCHPOINT = 3
    STOP_TARGET = 4
    MOST_WATCHPOINTS = 32
    MOST_TRACKED = 16
    WATCH_READ = 1
    WATCH_WRITE = 2
    CLUSTER_USUAL = -1
    CLUSTER_WATCHED = 1


cdef struct Watch:
    uint64_t first
    uint64_t last
    int kinds


cdef struct Debug:
    bint watches_closely  # each instruction of the code that runs has a hook
    bint enters  # the next block is to run closely watched
    bint restart  # the library is to be started again, with the other kind of code
    # The rest of a block that was counted when it began: where it goes on, and its end or 0.
    uint64_t paid_next
    uint64_t paid_end
    bint held  # an interrupt waits for the end of that rest
    uint64_t block_end
    uint64_t block_count  # the count with the running block
    bint stepping
    bint moved  # an instruction has begun since the step did
    uint64_t step_first
    uint64_t step_end
    bint passes  # the next instruction, if at pass_at, runs without being stopped at
    uint64_t pass_at
    bint has_target
    uint64_t target_count
    uint64_t target_address
    # The beginning of an instruction before the one at which a run to a target stops, 0 for none.
    uint64_t previous
    uint64_t previous_block
    int tracked_count
    int tracked[MOST_TRACKED]
    int stop
    uint64_t stop_address
    int stop_kind
    bint watch_hit
    uint64_t hit_address
    int hit_kind
    # A page of a watchpoint whose loads were let through for a store.
    bint rearm
    int rearm_mode
    uint64_t rearm_address
    int breakpoint_count
    uint64_t *breakpoints
    int watch_count
    Watch watches[MOST_WATCHPOINTS]


cdef extern from *:
    """
    #include <stdint.h>
    static void (*hypercall_on_instruction)(void *, uint64_t, uintptr_t);
    /* Called by translated code itself, so that where it returns to tells the instruction. */
    static __attribute__((noinline)) void hypercall_instruction_hook(
        void *uc, uint64_t address, uint32_t size, void *data)
    {
        hypercall_on_instruction(data, address, (uintptr_t)__builtin_return_address(0));
    }
    extern void cpu_loop_exit_noexc_x86_64(void *cs);
    """
    void (*hypercall_on_instruction)(void *, uint64_t, uintptr_t) noexcept nogil
    void hypercall_instruction_hook(void *, uint64_t, uint32_t, void *) noexcept nogil
    void cpu_loop_exit_noexc_x86_64(void *cs) noexcept nogil


cdef bint may_stop_in(Debug *debug, uint64_t address, uint64_t end) noexcept nogil:
    # Whether a breakpoint lies in a block.
    cdef int low = 0, high = debug.breakpoint_count, middle
    while low < high:
        middle = (low + high) >> 1
        if debug.breakpoints[middle] < address:
            low = middle + 1
        else:
            high = middle
    return low < debug.breakpoint_count and debug.breakpoints[low] < end


cdef bint look_at_block(Progress *progress, uint64_t address, uint32_t size) noexcept nogil:
    # Decides at the beginning of a block whether it is counted and runs.
    cdef Debug *debug = progress.debug
    cdef bint closely
    cdef uint8_t *slot
    if progress.armed:
        if debug.paid_end:
            if address == debug.paid_next:
                debug.block_end = debug.paid_end
                debug.paid_next = address + size
                if debug.paid_next >= debug.paid_end:
                    debug.paid_end = 0
                return False
            debug.paid_end = 0
        if debug.held:
            debug.held = False
            (<uint16_t *>(u64(progress.cs, CS_ICOUNT_DECR)[0]))[1] = 0xFFFF
            return False
        if debug.rearm:
            debug.rearm = False
            slot = tlb_entry(progress.cs, debug.rearm_mode, debug.rearm_address)
            if u64(slot, ENTRY_READ)[0] == debug.rearm_address & ~<uint64_t>0xFFF:
                u64(slot, ENTRY_READ)[0] |= TLB_INVALID
    if progress.break_in and progress.count < progress.turn_limit:
        # The library looks at the requests and comes back to this block.
        progress.break_in = False
        progress.limit = 0 if progress.armed else progress.turn_limit
        (<uint16_t *>(u64(progress.cs, CS_ICOUNT_DECR)[0]))[1] = 0xFFFF
        return False
    if progress.count >= progress.turn_limit:
        uc_emu_stop(progress.uc)
        return False
    if not progress.armed:
        return True
    if debug.watch_hit:
        debug.stop = STOP_WATCHPOINT
        uc_emu_stop(progress.uc)
        return False
    closely = (
        debug.stepping
        or (debug.has_target and progress.count + size >= debug.target_count)
        or may_stop_in(debug, address, address + size)
    )
    if closely != debug.watches_closely:
        debug.restart = True
        debug.enters = closely
        uc_emu_stop(progress.uc)
        return False
    debug.block_end = address + size
    debug.block_count = progress.count + size
    debug.previous = 0
    if debug.tracked_count and is_tracked(progress):
        if not debug.has_target or debug.block_count < debug.target_count:
            debug.previous_block = debug.block_count
    return True


cdef bint is_tracked(Progress *progress) noexcept nogil:
    cdef int index
    for index in range(progress.debug.tracked_count):
        if progress.debug.tracked[index] == progress.context:
            return True
    return False


cdef void leave_at(Progress *progress, uintptr_t back) noexcept nogil:
    # Leaves translated code before the instruction that called us from `back`. Does not return.
    uc_emu_stop(progress.uc)
    cpu_restore_state_x86_64(progress.cs, back, True)
    cpu_loop_exit_noexc_x86_64(progress.cs)


cdef void on_instruction(void *data, uint64_t address, uintptr_t back) noexcept nogil:
    cdef Progress *progress = <Progress *>data
    cdef Debug *debug = progress.debug
    cdef int stop = STOP_NONE
    # The library leaves the arithmetic flags where they do not belong while it runs.
    u64(progress.env, ENV_EFLAGS)[0] &= ~<uint64_t>(FLAG_BITS | DIRECTION)
    if address == debug.block_end:
        # The rest of a block went on beyond where the block had ended.
        debug.paid_end = 0
        debug.restart = True
        leave_at(progress, back)
    if debug.passes:
        debug.passes = False
        if address == debug.pass_at:
            debug.moved = True
            debug.previous = address
            return
        # An interrupt came first.
        debug.moved = True
    if debug.watch_hit:
        stop = STOP_WATCHPOINT
    elif debug.has_target and (
        debug.block_count > debug.target_count
        or (debug.block_count == debug.target_count and address >= debug.target_address)
    ):
        stop = STOP_TARGET
    elif debug.stepping and debug.moved and not (
        debug.step_first <= address < debug.step_end
    ):
        stop = STOP_STEP
    if stop != STOP_WATCHPOINT and stop != STOP_TARGET and may_stop_in(
        debug, address, address + 1
    ):
        stop = STOP_BREAKPOINT
    if stop:
        debug.stop = stop
        debug.paid_next = address
        debug.paid_end = debug.block_end
        leave_at(progress, back)
    debug.moved = True
    debug.previous = address


cdef void hide_entry(uint8_t *entry, int kinds) noexcept nogil:
    # Lets the accesses by a TLB entry come to us. Stores always: see `filled_for`.
    if kinds & WATCH_READ and u64(entry, ENTRY_READ)[0] != NEVER:
        u64(entry, ENTRY_READ)[0] |= TLB_INVALID
    if u64(entry, ENTRY_WRITE)[0] != NEVER:
        u64(entry, ENTRY_WRITE)[0] |= TLB_INVALID


cdef int kinds_watched(Debug *debug, uint64_t address) noexcept nogil:
    # The kinds of the watchpoints in a page.
    cdef int index, kinds = 0
    for index in range(debug.watch_count):
        if debug.watches[index].first >> 12 <= address >> 12 <= debug.watches[index].last >> 12:
            kinds |= debug.watches[index].kinds
    return kinds


cdef void hide_watched(uint8_t *tlb, Debug *debug) noexcept nogil:
    # Hides the TLB entries of all pages that hold a watchpoint.
    cdef int mode, kinds
    cdef uint64_t index, count, address
    cdef uint8_t *entry
    for mode in range(TLB_MODES):
        count = (u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE)[0] >> ENTRY_SHIFT) + 1
        entry = <uint8_t *>(u64(tlb, TLB_FAST + mode * TLB_FAST_SIZE + 8)[0])
        for index in range(count + TLB_VICTIMS):
            if index == count:
                entry = (
                    tlb + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_VICTIMS
                )
            address = u64(entry, ENTRY_READ)[0]
            if address == NEVER:
                address = u64(entry, ENTRY_WRITE)[0]
            if address != NEVER:
                kinds = kinds_watched(debug, address)
                if kinds:
                    hide_entry(entry, kinds)
            entry += ENTRY_SIZE


cdef bint watch_matches(Debug *debug, uint64_t address, int size, int access) noexcept nogil:
    # Notes which byte of a watchpoint an access is about to touch; returns whether there is one.
    cdef int index
    cdef int kind = WATCH_WRITE if access == 1 else WATCH_READ
    cdef uint64_t last = address + (size - 1 if size > 0 else 0)
    for index in range(debug.watch_count):
        if (
            debug.watches[index].kinds & kind
            and debug.watches[index].first <= last
            and address <= debug.watches[index].last
        ):
            debug.hit_address = max(address, debug.watches[index].first)
            debug.hit_kind = debug.watches[index].kinds
            return True
    return False


cdef class Debugger(Library):
    """Breakpoints, watchpoints, steps and targets of one engine."""

    cdef Debug debug
    cdef uint8_t *instruction_hook

    def __cinit__(self):
        memset(&self.debug, 0, sizeof(Debug))
        self.progress.debug = &self.debug
        self.instruction_hook = NULL

    cdef void free_breakpoints(self):
        free(self.debug.breakpoints)
        self.debug.breakpoints = NULL
        self.debug.breakpoint_count = 0

    def __dealloc__(self):
        self.free_breakpoints()

    cdef void arm(self) except *:
        # Sees whether blocks are to be looked at.
        cdef uc_hook handle = 0
        self.progress.armed = (
            self.debug.breakpoint_count != 0
            or self.debug.watch_count != 0
            or self.debug.stepping
            or self.debug.has_target
            or self.debug.paid_end != 0
            or self.debug.tracked_count != 0
        )
        if self.progress.armed and self.instruction_hook == NULL:
            global hypercall_on_instruction
            hypercall_on_instruction = on_instruction
            self.check(uc_hook_add(self.uc, &handle, UC_HOOK_CODE,
                                   <void *>hypercall_instruction_hook, &self.progress,
                                   NEVER, NEVER), "hook instructions")
            self.instruction_hook = <uint8_t *>handle
        self.limit_changed()

    cdef void choose_code(self, bint closely):
        # Chooses which of the two kinds of translated code runs.
        if self.instruction_hook == NULL:
            return
        self.debug.watches_closely = closely
        u32(self.cs, CS_CLUSTER_INDEX)[0] = <uint32_t>(
            CLUSTER_WATCHED if closely else CLUSTER_USUAL
        )
        # A hook whose first address is beyond its last is on every instruction.
        u64(self.instruction_hook, HOOK_FIRST)[0] = 1 if closely else NEVER
        u64(self.instruction_hook, HOOK_LAST)[0] = 0 if closely else NEVER

    def set_breakpoints(self, addresses):
        """Sets the linear addresses before whose instructions ``run`` returns, in any context."""
        cdef list ordered = sorted(set(addresses))
        cdef int index
        self.free_breakpoints()
        self.debug.breakpoints = <uint64_t *>malloc((len(ordered) + 1) * sizeof(uint64_t))
        for index in range(len(ordered)):
            self.debug.breakpoints[index] = ordered[index]
        self.debug.breakpoint_count = len(ordered)
        self.arm()

    def set_watchpoints(self, watchpoints):
        """Sets the data behind whose accesses ``run`` returns, in any context.

        Args:
            watchpoints: (linear address, length in bytes, kinds: bit 0 read, bit 1 write) of each.

        Raises:
            ValueError: there are more than 32, or one is empty.
        """
        cdef int index
        cdef list given = list(watchpoints)
        if len(given) > MOST_WATCHPOINTS:
            raise ValueError("too many watchpoints")
        for address, length, kinds in given:
            if length < 1 or address + length > 1 << 64:
                raise ValueError("an empty watchpoint")
        for index in range(len(given)):
            self.debug.watches[index].first = given[index][0]
            self.debug.watches[index].last = given[index][0] + given[index][1] - 1
            self.debug.watches[index].kinds = given[index][2]
        self.debug.watch_count = len(given)
        self.debug.watch_hit = False
        if self.debug.watch_count:
            hide_watched(self.cs + CS_TLB, &self.debug)
            for index in range(self.context_count):
                if index != self.current:
                    hide_watched(self.contexts[index].tlb, &self.debug)
        self.arm()

    def set_step(self, bint on, uint64_t first=0, uint64_t end=0):
        """Says whether ``run`` returns after the next instruction of the loaded context.

        Args:
            on: whether it does.
            first: with ``end``, linear addresses of code in which it goes on.
            end: where that code ends.
        """
        self.debug.stepping = on
        self.debug.step_first = first
        self.debug.step_end = end
        self.arm()

    def begin_step(self):
        """Says that no instruction of a step has been executed yet."""
        self.debug.moved = False

    def pass_instruction(self, address):
        """Lets the next instruction run without a stop if it is at a linear address; None not."""
        self.debug.passes = address is not None
        self.debug.pass_at = 0 if address is None else address

    def set_target(self, target):
        """Lets ``run`` return before the instruction at a position; None for at none.

        Args:
            target: (count with the block, linear address), as ``position`` has it.
        """
        self.debug.has_target = target is not None
        if target is not None:
            self.debug.target_count, self.debug.target_address = target
        self.arm()

    def track(self, contexts):
        """Says of which contexts, 16 at most, the last block before the target is to be found."""
        cdef int index
        cdef list given = list(contexts)[:MOST_TRACKED]
        for index in range(len(given)):
            self.debug.tracked[index] = given[index]
        self.debug.tracked_count = len(given)
        self.debug.previous_block = 0
        self.arm()

    @property
    def previous_block(self):
        """The count with the last block of the tracked contexts, 0 for none."""
        return self.debug.previous_block

    @property
    def previous_instruction(self):
        """Linear address of the instruction before the stop in the same block, 0 for none."""
        return self.debug.previous

    @property
    def accessor(self):
        """The position of the instruction that touched the data of a watchpoint, or None."""
        if self.debug.previous == 0:
            return None
        return self.debug.block_count, self.debug.previous

    @property
    def position(self):
        """Where the loaded context is: (count, linear address), in the order of execution.

        The count includes the block that the stop is in. Between blocks the address is 2**64.
        """
        if self.debug.paid_end:
            return self.debug.block_count, self.debug.paid_next
        return self.progress.count, 1 << 64

    @property
    def debug_stop(self):
        """Why ``run`` returned, for a debugger: None, or (kind, address, access).

        Kinds are 1 breakpoint, 2 step, 3 watchpoint with its linear address and its kinds,
        4 target.
        """
        if self.debug.stop == STOP_NONE:
            return None
        if self.debug.stop == STOP_WATCHPOINT:
            return self.debug.stop, self.debug.hit_address, self.debug.hit_kind
        return self.debug.stop, 0, 0

    def get_x87(self, int number):
        """The x87 state of a context: (control, status, full tags of 8 bits, 8 registers).

        Registers are ST0 to ST7, 10 bytes each.
        """
        cdef uint8_t *env = self.context_env(number)
        cdef uint32_t top = u32(env, ENV_FPUS - 4)[0] & 7
        cdef int index, tags = 0
        cdef list registers = []
        for index in range(8):
            if not env[ENV_FPTAGS + index]:
                tags |= 1 << index
            registers.append(
                (<uint8_t *>(env + ENV_FPREGS + 16 * ((top + index) & 7)))[:10]
            )
        status = (<uint16_t *>(env + ENV_FPUS))[0] & ~0x3800 | top << 11
        return (<uint16_t *>(env + ENV_FPUC))[0], status, tags, registers

    def set_x87_register(self, int number, int register, const uint8_t[::1] data):
        """Sets one of ST0 to ST7 of a context from 10 bytes."""
        cdef uint8_t *env = self.context_env(number)
        cdef uint32_t top = u32(env, ENV_FPUS - 4)[0] & 7
        if data.shape[0] != 10:
            raise ValueError("an x87 register has 10 bytes")
        memcpy(env + ENV_FPREGS + 16 * ((top + register) & 7), &data[0], 10)
        env[ENV_FPTAGS + ((top + register) & 7)] = 0
