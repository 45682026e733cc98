"""Where the guests of random calls keep what.

A *world* is one VTL of one processor: `world(vp, vtl)` is its number.
"""

VPS = 3
VTLS = 3
WORLDS = [(vp, vtl) for vp in range(VPS) for vtl in range(VTLS)]

SECRETS = {1: 0x601000, 2: 0x602000}
"""The page that each VTL keeps from lower ones, full of its pattern."""
PATTERNS = {1: bytes.fromhex("5ec2e7a15ec2e7b1"), 2: bytes.fromhex("5ec2e7a25ec2e7b2")}
VICTIMS = range(0x610, 0x630)
"""Pages that calls may protect, hint at and write to."""
LARGE_VICTIM = 0xE00000
"""2 MiB that calls may hint at."""

HANDLERS = 0x640000
READ_PROBE = HANDLERS + 0x800
"""A function that reads the word at RDX into RAX; the next one writes RAX there."""
WRITE_PROBE = HANDLERS + 0x810
VMCALL = HANDLERS + 0x820
VMMCALL = HANDLERS + 0x830
GO = HANDLERS + 0xF00
"""Set once all levels of all processors are enabled."""
CODE = {vtl: 0x641000 + 0x1000 * vtl for vtl in range(VTLS)}
"""The loop of each VTL, which starts and starts anew there."""
NESTED_TABLES = 0x900000
RAM_END = 0x1000000

RECORD_SIZE = 256
TABLE_SIZE = 0x10000
INPUT_SIZE = 0x20000
OUTPUT_SIZE = 0x4000
LOG_SIZE = 0x8000

# The block of a world, at its FS base.
BLOCK_SELF, BLOCK_NEXT, BLOCK_COUNT, BLOCK_TABLE, BLOCK_IDLE = 0, 8, 16, 24, 32
BLOCK_MESSAGES, BLOCK_ASSIST, BLOCK_LOG, BLOCK_LIST = 40, 48, 56, 64
BLOCK_RECORD, BLOCK_DUTY, BLOCK_INTERCEPTS = 72, 80, 88
BLOCK_SIZE = 96

# A record: what the registers are before the call, and after it.
RECORD_TARGET, RECORD_XMM = 24, 32
RECORD_RESULT, RECORD_DONE, RECORD_XMM_AFTER = 0x80, 0x98, 0xA0


def world(vp: int, vtl: int) -> int:
    """The number of a world."""
    return VTLS * vp + vtl


def block(vp: int, vtl: int) -> int:
    """Its block."""
    return 0x648000 + 0x100 * world(vp, vtl)


def parameter_list(vp: int, vtl: int) -> int:
    """The page for the parameters of the calls that its loop makes for itself."""
    return 0x64A000 + 0x1000 * world(vp, vtl)


def table(vp: int, vtl: int) -> int:
    """Its records."""
    return 0x680000 + TABLE_SIZE * world(vp, vtl)


def inputs(vp: int, vtl: int) -> int:
    """The input lists of its records."""
    return 0x720000 + INPUT_SIZE * world(vp, vtl)


def outputs(vp: int, vtl: int) -> int:
    """Where their output goes."""
    return 0x840000 + OUTPUT_SIZE * world(vp, vtl)


def log(vp: int, vtl: int) -> int:
    """The messages that it has taken: type and first word of each."""
    return 0x880000 + LOG_SIZE * world(vp, vtl)
