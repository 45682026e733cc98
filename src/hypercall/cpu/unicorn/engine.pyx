# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, profile=False
"""Runs guest code on unicorn and hands every exit to an ``Exits`` object.

The hooks live here because their cost decides the speed of a guest. Everything that the engine
does natively is about the processor only: address translation, exceptions, SYSCALL, the
time stamp counter, counting of blocks. What an access to a register, a port or a hypercall means
is decided by the Python object that the engine is given.

A hook may be left by the library's longjmp, so no hook holds a Python reference across a call
that can raise a guest exception.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport PROT_EXEC, PROT_READ, PROT_WRITE, mprotect
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from hypercall.cpu.unicorn.layout cimport *

from hypercall.errors import HypercallError


cdef extern from "unicorn/unicorn.h" nogil:
    ctypedef struct uc_engine:
        pass
    ctypedef int uc_err
    ctypedef size_t uc_hook
    ctypedef struct uc_tb:
        uint64_t pc
        uint16_t icount
        uint16_t size
    int UC_ARCH_X86, UC_MODE_64, UC_PROT_ALL, UC_CPU_X86_BROADWELL
    int UC_HOOK_INTR, UC_HOOK_INSN, UC_HOOK_CODE, UC_HOOK_BLOCK, UC_HOOK_INSN_INVALID, UC_HOOK_EDGE_GENERATED
    int UC_HOOK_MEM_FETCH_UNMAPPED
    int UC_X86_INS_IN, UC_X86_INS_OUT, UC_X86_INS_SYSCALL, UC_X86_INS_RDTSC, UC_X86_INS_RDTSCP
    int UC_X86_REG_RAX
    uc_err uc_open(int arch, int mode, uc_engine **uc)
    uc_err uc_close(uc_engine *uc)
    uc_err uc_ctl_set_cpu_model(uc_engine *uc, int model)
    uc_err uc_ctl_exits_enable(uc_engine *uc)
    uc_err uc_ctl_set_tcg_buffer_size(uc_engine *uc, uint32_t size)
    uc_err uc_mem_map_ptr(uc_engine *uc, uint64_t address, uint64_t size, uint32_t perms, void *ptr)
    uc_err uc_mmio_map(uc_engine *uc, uint64_t address, uint64_t size,
                       void *read, void *read_data, void *write, void *write_data)
    uc_err uc_hook_add(uc_engine *uc, uc_hook *hh, int type, void *callback, void *data,
                       uint64_t begin, uint64_t end, ...)
    uc_err uc_emu_start(uc_engine *uc, uint64_t begin, uint64_t until, uint64_t timeout, size_t n)
    uc_err uc_emu_stop(uc_engine *uc)
    uc_err uc_reg_write(uc_engine *uc, int register, const void *value)
    const char *uc_strerror(uc_err code)
    unsigned int uc_version(unsigned int *major, unsigned int *minor)

# What the wheel's library exports beside its public interface; names end in the guest's kind.
cdef extern from * nogil:
    """
    extern void x86_cpu_do_interrupt_x86_64(void *cs);
    extern void do_interrupt_x86_hardirq_x86_64(void *env, int vector, int is_hardware);
    extern void raise_exception_err_ra_x86_64(void *env, int vector, int error, uintptr_t back);
    extern _Bool cpu_restore_state_x86_64(void *cs, uintptr_t back, _Bool leaving);
    extern void cpu_x86_update_cr0_x86_64(void *env, uint32_t value);
    extern void cpu_x86_update_cr3_x86_64(void *env, uint64_t value);
    extern void cpu_x86_update_cr4_x86_64(void *env, uint32_t value);
    extern void tlb_flush_x86_64(void *cs);
    extern void tb_flush_jmp_cache_x86_64(void *cs, uint64_t address);
    extern void tlb_flush_page_x86_64(void *cs, uint64_t address);
    extern void tlb_init_x86_64(void *cs);
    extern void tlb_set_page_with_attrs_x86_64(void *cs, uint64_t address, uint64_t physical,
        unsigned int attributes, int protection, int mode, uint64_t size);
    extern void tb_invalidate_phys_range_x86_64(void *uc, uint64_t start, uint64_t end);
    extern void *tcg_tb_lookup_x86_64(void *context, uintptr_t back);
    extern void tb_gen_code_x86_64(void);
    extern void cpu_breakpoint_remove_by_ref_x86_64(void *cs, void *breakpoint);
    extern void cpu_x86_update_dr7_x86_64(void *env, uint32_t value);
    extern uint64_t helper_cc_compute_all_x86_64(uint64_t dst, uint64_t src, uint64_t src2, int op);
    extern _Bool x86_cpu_tlb_fill_x86_64(void *cs, uint64_t address, int size, int access,
        int mode, _Bool probe, uintptr_t back);
    """
    void x86_cpu_do_interrupt_x86_64(void *cs)
    void do_interrupt_x86_hardirq_x86_64(void *env, int vector, int is_hardware)
    void raise_exception_err_ra_x86_64(void *env, int vector, int error, uintptr_t back)
    bint cpu_restore_state_x86_64(void *cs, uintptr_t back, bint leaving)
    void cpu_x86_update_cr0_x86_64(void *env, uint32_t value)
    void cpu_x86_update_cr3_x86_64(void *env, uint64_t value)
    void cpu_x86_update_cr4_x86_64(void *env, uint32_t value)
    void tlb_flush_x86_64(void *cs)
    void tb_flush_jmp_cache_x86_64(void *cs, uint64_t address)
    void tlb_flush_page_x86_64(void *cs, uint64_t address)
    void tlb_init_x86_64(void *cs)
    void tlb_set_page_with_attrs_x86_64(void *cs, uint64_t address, uint64_t physical,
                                        unsigned int attributes, int protection, int mode,
                                        uint64_t size)
    void tb_invalidate_phys_range_x86_64(void *uc, uint64_t start, uint64_t end)
    void *tcg_tb_lookup_x86_64(void *context, uintptr_t back)
    void tb_gen_code_x86_64()
    void cpu_breakpoint_remove_by_ref_x86_64(void *cs, void *breakpoint)
    void cpu_x86_update_dr7_x86_64(void *env, uint32_t value)
    uint64_t helper_cc_compute_all_x86_64(uint64_t dst, uint64_t src, uint64_t src2, int op)
    bint x86_cpu_tlb_fill_x86_64(void *cs, uint64_t address, int size, int access, int mode,
                                 bint probe, uintptr_t back)


cdef enum:
    FLAG_BITS = 0x8D5  # OF SF ZF AF PF CF
    DIRECTION = 0x400
    INTERRUPT_FLAG = 0x200
    PAGE = 4096
    SEGMENT_PRESENT = 0x8000
    BUSY_TASK = 0x8B00
    # Of DR7: the bits that enable, and what it is without any.
    BREAKPOINTS_ENABLED = 0xFF
    BREAKPOINTS_OFF = 0x400
    SMEP = 1 << 20
    TRAP_FLAG = 0x100
    RESUME_FLAG = 0x10000
    # The exceptions that are faults: #DE #BR #UD #NM #TS #NP #SS #GP #PF #MF #AC #XM.
    FAULTS = 0xB7CE1
    SINGLE_STEP = 0x4000  # DR6.BS
    LONG_MODE_ACTIVE = 0x400  # EFER.LMA
    # Control registers whose writes always exit: CR3, CR4 and CR8.
    ALWAYS_INTERCEPTED = 1 << 3 | 1 << 4 | 1 << 8
    # The bits that CR4 has on the processor that CPUID describes, and PAE of them.
    DEFINED_CR4 = 0x3007FF
    PHYSICAL_ADDRESS_EXTENSION = 0x20
    # How long PAUSE takes, and an exception or what the hypervisor does for CPUID, CR8 and MSRs.
    PAUSE_TIME = 128
    EXIT_TIME = 512
    PENDING_FLUSHES = 64
    # So many fills of pages that are not global are remembered for the next write of CR3.
    LOCAL_FILLS = 512
    # After so many fills the library's own flush may choose another size for its table.
    FILLS_BEFORE_FULL_FLUSH = 4096
    PROTECTION_GLOBAL = 0x100
    SLICE_OF_PAUSES = 16

cdef uint64_t NEVER = 0xFFFFFFFFFFFFFFFFULL
# The engine's own physical map. RAM comes first, so that an offset in RAM is its address here.
cdef uint64_t PRIVATE_BASE = 0xF000000000ULL
cdef uint64_t ARENA_BASE = 0xF100000000ULL
cdef uint64_t VOID_BASE = 0xF200000000ULL
cdef uint64_t DEVICE_BASE = 0xF300000000ULL


# The MSRs that are plain registers of the processor: SYSENTER, PAT, EFER and those of SYSCALL,
# the segment bases, TSC_AUX.
NATIVE_MSRS = (
    *(0x174, 0x175, 0x176, 0x277),
    *(0xC0000080, 0xC0000081, 0xC0000082, 0xC0000083, 0xC0000084),
    *(0xC0000100, 0xC0000101, 0xC0000102, 0xC0000103),
)


# Those of them that hold linear addresses, which must be canonical: where they lie.
cdef dict ADDRESS_MSRS = {
    0x175: ENV_SYSENTER_ESP,
    0x176: ENV_SYSENTER_EIP,
    0xC0000082: ENV_LSTAR,
    0xC0000083: ENV_CSTAR,
    0xC0000100: ENV_SEGMENTS + 24 * 4 + 8,
    0xC0000101: ENV_SEGMENTS + 24 * 5 + 8,
    0xC0000102: ENV_KERNEL_GS_BASE,
}


cdef enum:
    # What a table entry holds beside the address of the backing page.
    ENTRY_ALL = 0xF
    ENTRY_DEVICE = 0x10
    # What is known of a page of RAM.
    PAGE_HAS_CODE = 1  # code was translated from it; no store reaches it unwatched
    PAGE_WRITTEN = 2  # the guest or the host has written it
    PAGE_MAY_WRITE = 4  # TLB entries may allow stores
    PAGE_WATCHED = 8  # reads of it are to be told
    # The library may need several of its 512 temporaries for an instruction, and does not count.
    MOST_INSTRUCTIONS = 96
    # What the walk of the guest's paging structures returns where the table forbids an access.
    WALK_REFUSED = -1
    # After so many watched stores a page of code is taken for data.
    MANY_STORES = 200

cdef uint64_t ENTRY_ADDRESS = 0xFFFFFFFFFFFFF000ULL

cdef struct Context:
    uint8_t *state
    uint8_t *tlb
    uint32_t interrupt_request
    int table
    bint flush_all
    bint sweep
    int pending
    uint64_t pages[PENDING_FLUSHES]
    uint32_t pauses
    # The TLB entries that a write of CR3 must drop: mode in bits 31:30, index below.
    uint32_t fills
    uint32_t local_count
    uint32_t local[LOCAL_FILLS]
    int64_t time_stamp_offset
    # The control registers whose writes exit to Python.
    uint32_t control_intercepts
    # An exception or interrupt to deliver before the next instruction; -1 for none.
    int injected
    int injected_error
    bint injected_from_hardware
    # The interrupt, or the injected exception, whose delivery is under way; -1 for none.
    int delivering
    bint delivering_exception
    # Whether an audit has left marks in the TLB.
    bint marks
    # Whether fetches of user code need the permission of their own (mode-based execute control).
    bint user_execution


cdef struct Statistics:
    uint64_t hypercalls
    uint64_t msr_reads
    uint64_t msr_writes
    uint64_t cpuid
    uint64_t port_reads
    uint64_t port_writes
    uint64_t mmio_reads
    uint64_t mmio_writes
    uint64_t halts
    uint64_t pauses
    uint64_t exceptions
    uint64_t interrupts
    uint64_t violations
    uint64_t fills
    uint64_t switches
    uint64_t code_pages_rewritten
    uint64_t translated_blocks
    uint64_t translated_bytes
    uint64_t translated_instructions
    uint64_t stale_entries
    uint64_t stale_uses


cdef struct Debug


cdef struct Progress:
    # What the hook of every block needs, in one cache line and without a Python reference.
    uint64_t count
    uint64_t limit  # where the next block is not begun: the end of the turn, or 0
    uint64_t turn_limit
    bint armed  # each block is looked at; the limit is kept 0
    bint break_in  # a request is to be looked at before the next block
    uint8_t *env
    uint8_t *cs
    uc_engine *uc
    void (*repeat)(Progress *, uint64_t, uint32_t) noexcept nogil
    int context
    Debug *debug


cdef inline uint32_t *u32(void *base, long offset) noexcept nogil:
    return <uint32_t *>(<uint8_t *>base + offset)


cdef inline uint64_t *u64(void *base, long offset) noexcept nogil:
    return <uint64_t *>(<uint8_t *>base + offset)


include "strings.pxi"
include "marks.pxi"
include "state.pxi"
include "memory.pxi"
include "paging.pxi"
include "translation.pxi"
include "contexts.pxi"
include "audit.pxi"
include "setup.pxi"
include "debugging.pxi"
include "strangers.pxi"
include "snapshots.pxi"
include "instructions.pxi"
include "exits.pxi"
include "hooks.pxi"
