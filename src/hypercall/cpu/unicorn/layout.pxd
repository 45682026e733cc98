"""Where unicorn 2.1.4 keeps what this module reads and writes: the one table tied to the wheel.

Offsets are in bytes. `Engine` checks the table against the loaded library before it runs a guest.
"""

cdef enum:
    # struct uc_struct
    UC_CPU = 440
    UC_TCG_CONTEXT = 768
    UC_NO_EXIT_REQUEST = 2034
    # struct hook
    HOOK_FIRST = 24
    HOOK_LAST = 32
    # CPUState
    CS_INTERRUPT_REQUEST = 28
    CS_ENV = 296
    CS_ICOUNT_DECR = 304
    CS_JUMP_CACHE = 312
    CS_JUMP_CACHE_SIZE = 32768
    CS_CLUSTER_INDEX = 33172
    CS_HALTED = 33176
    CS_EXCEPTION_INDEX = 33184
    CS_CLASS = 33200
    CS_TLB = 33216
    # CPUClass
    CLASS_TLB_FILL = 72
    CLASS_TLB_FILL_CPU = 80
    CLASS_EXEC_INTERRUPT = 144
    # CPUTLB
    TLB_SIZE = 2176
    TLB_MODES = 3
    TLB_DESCRIPTOR = 32
    TLB_DESCRIPTOR_SIZE = 696
    TLB_DESCRIPTOR_WINDOW = 16
    TLB_DESCRIPTOR_USED = 32
    TLB_DESCRIPTOR_VICTIMS = 48
    TLB_VICTIMS = 8
    # What belongs to the victims, and a pointer to what belongs to the table: 16 bytes an entry.
    DESCRIPTOR_VICTIM_IOTLB = 560
    DESCRIPTOR_IOTLB = 688
    IOTLB_SIZE = 16
    TLB_FAST = 2128
    TLB_FAST_SIZE = 16
    # CPUTLBEntry
    ENTRY_SIZE = 64
    ENTRY_SHIFT = 6
    ENTRY_READ = 0
    ENTRY_WRITE = 8
    ENTRY_CODE = 16
    ENTRY_PHYSICAL = 24
    ENTRY_ADDEND = 32
    # The library leaves the rest of an entry alone and copies it along.
    ENTRY_OWN = 40
    ENTRY_SINCE = 48
    # The operand of MOV EBX, 512 in tb_gen_code: how many instructions a block has at most
    CODE_MOST_INSTRUCTIONS = 130
    # TranslationBlock
    BLOCK_PAGES = 72
    # CPUX86State; its first CONTEXT_SIZE bytes are what belongs to one virtual processor
    CONTEXT_SIZE = 5568
    ENV_REGS = 0
    ENV_EIP = 128
    ENV_EFLAGS = 136
    ENV_CC_DST = 144
    ENV_CC_SRC = 152
    ENV_CC_SRC2 = 160
    ENV_CC_OP = 168
    ENV_DF = 172
    ENV_HFLAGS = 176
    ENV_HFLAGS2 = 180
    ENV_SEGMENTS = 184
    ENV_LDT = 328
    ENV_TR = 352
    ENV_GDT = 376
    ENV_IDT = 400
    ENV_CR = 424
    ENV_A20_MASK = 496
    ENV_EFER = 592
    ENV_FPUS = 608
    ENV_FPUC = 610
    ENV_FPTAGS = 612
    ENV_FPREGS = 624
    # float_status: tininess, rounding, flags, precision, and four switches, a byte each
    ENV_FP_STATUS = 776
    ENV_MMX_STATUS = 800
    ENV_SSE_STATUS = 808
    ENV_MXCSR = 816
    ENV_XMM = 824
    ENV_XMM_SIZE = 64
    ENV_SYSENTER_CS = 4800
    ENV_SYSENTER_ESP = 4808
    ENV_SYSENTER_EIP = 4816
    ENV_STAR = 4824
    ENV_HOST_SAVE = 4832
    ENV_LSTAR = 4840
    ENV_CSTAR = 4848
    ENV_FMASK = 4856
    ENV_KERNEL_GS_BASE = 4864
    ENV_TSC_AUX = 4896
    ENV_XCR0 = 4904
    ENV_PAT = 5280
    ENV_ERROR_CODE = 5384
    ENV_EXCEPTION_IS_INT = 5388
    ENV_EXCEPTION_NEXT_RIP = 5392
    ENV_DR = 5400
    # What the library has made of DR0 to DR3: pointers, the breakpoints' own
    ENV_BREAKPOINTS = 5464
    BREAKPOINTS = 4
    ENV_OLD_EXCEPTION = 5496
    ENV_VMCB = 5504
    ENV_INTERCEPT = 5520
    ENV_INTERCEPT_CR_READ = 5528
    ENV_INTERCEPT_CR_WRITE = 5530
    ENV_INTERCEPT_DR_READ = 5532

cdef enum:
    # interrupt_request bits
    REQUEST_HARD = 0x2
    REQUEST_NMI = 0x200
    REQUEST_INJECTED = 0x100
    # hflags bits
    HF_CPL = 0x3
    HF_INHIBIT = 0x8
    HF_PE = 0x80
    HF_LMA = 0x4000
    HF_CS64 = 0x8000
    HF_VM = 0x20000
    HF_GUEST = 0x200000
    HF_SMAP = 0x800000
    HF2_GIF = 0x1
    HF2_NMI = 0x4
    # TLB entry flag
    TLB_INVALID = 0x800
    TLB_NOTDIRTY = 0x400
    # exceptions at and above this are exits of the SVM emulation
    EXIT_BASE = 0x100
    EXIT_READ_CR8 = 0x108
    EXIT_WRITE_CR0 = 0x110
    EXIT_WRITE_CR3 = 0x113
    EXIT_WRITE_CR15 = 0x11F
    EXIT_IDTR_WRITE = 0x16A
    EXIT_GDTR_WRITE = 0x16B
    EXIT_LDTR_WRITE = 0x16C
    EXIT_TR_WRITE = 0x16D
    EXIT_RDPMC = 0x16F
    EXIT_CPUID = 0x172
    EXIT_PAUSE = 0x177
    EXIT_INVLPG = 0x179
    EXIT_HLT = 0x178
    EXIT_MSR = 0x17C
    EXIT_SHUTDOWN = 0x17F
    EXIT_MONITOR = 0x18A
    EXIT_MWAIT = 0x18B
    # our own, raised by the memory translation: the instruction is to be tried again later
    EXIT_ABANDON = 0x1F0
    # MMU modes
    MMU_KERNEL_SMAP = 0
    MMU_USER = 1
    MMU_KERNEL = 2
