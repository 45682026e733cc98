"""Where the guests of these tests keep what, in guest-physical memory mapped one to one.

The loader maps the first 4 GiB with large pages. A *slot* is the APIC id of a processor.
"""

TRAMPOLINE = 0x8000
"""Real-mode code of a processor that a start-up message starts."""
TRAMPOLINE_TABLES = 0x8100
"""The GDTR that it loads."""
IMAGE = 0x100000
IDT = 0x110000
STUBS = 0x111000
GDT = 0x112000
TSS = 0x112800
POINTERS = 0x112C00
"""GDTR at +0, IDTR at +16."""
VARIABLES = 0x113000
FAULT = VARIABLES
"""Vector (-1 for none), error code, RIP, CR2, CS and RSP of the last exception."""
FAULT_COUNT = VARIABLES + 0x30
RECOVER = VARIABLES + 0x38
"""Where to go on after an exception; 0 if none is expected."""
RECOVER_STACK = VARIABLES + 0x40
STARTED = VARIABLES + 0x48
"""How many application processors have started."""
AP_MAIN = VARIABLES + 0x50
"""What application processors execute; with 0 they rest and take interrupts."""
NO_EOI = VARIABLES + 0x58
ROW = VARIABLES + 0x60
ROWS_LEFT = VARIABLES + 0x68
SAVED = VARIABLES + 0x70
SHARED = VARIABLES + 0x100
"""512 bytes for a test's own variables."""
HOOKS = 0x114000
"""For each vector a function that its handler calls, or 0."""
COUNTS = 0x120000
"""For each slot 256 counts of interrupts taken, by vector."""
STACKS = 0x1A0000
RESULTS = 0x1E0000
"""For each slot 128 words that the test's code has put there."""
HYPERCALL_PAGE = 0x200000
TSC_PAGE = 0x201000
INPUT = 0x210000
OUTPUT = 0x220000
MESSAGES = 0x230000
"""For each slot a message page; event flag pages and assist pages follow."""
EVENTS = 0x270000
ASSIST = 0x2B0000
ROWS = 0x300000
"""Rows of calls, see ``hypercalls``."""
TABLES = 0x3C0000
"""Paging structures of a test."""
WINDOW = 0x400000
"""2 MiB for a test to map and unmap."""
DATA = 0x600000
"""The rest of memory, for a test's own pages."""

CODE_32 = 0x08
CODE_64 = 0x10
DATA_64 = 0x18
USER_CODE_32 = 0x20
USER_DATA = 0x28
USER_CODE_64 = 0x30
TASK = 0x38
CODE_16 = 0x48
DATA_16 = 0x50

STACK_SIZE = 0x1000
RESULT_SIZE = 0x400
COUNT_SIZE = 0x800
KERNEL_STACK = 0x9A000
"""The stack of the boot processor for exceptions in user mode ends here."""
IDENTITY_TABLES = 0x83000
"""CR3 at the start."""
LOCAL_APIC = 0xFEE00000
EXIT_PORT = 0xF4
