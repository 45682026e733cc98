"""Where the tour keeps what, in guest-physical memory that the loader maps one to one."""

from collections.abc import Mapping
from types import MappingProxyType

IMAGE = 0x100000
VARIABLES = 0x300000
_STACK_TOP = 0x310000
_STACK_SIZE = 0x4000

VARIABLE_NAMES = (
    "RESULT",
    "FAULT",
    "FAULT_RIP",
    "RECOVER",
    "RECOVER_STACK",
    "DEPTH",
    "FAILURES",
    "SEEN",
    "OWN_INDEX",
    "OTHER_INDEX",
    "OWN_MASK",
    "OTHER_MASK",
    "BOTH_MASKS",
    "STARTED",
    "TURNS",
    "STEP",
    "STEP_DONE",
    "COMMAND",
    "LOOK_OWN",
    "LOOK_OTHER",
    "OLD_CR3",
    "VTL_CALL",
    "VTL_RETURN",
    "REQUEST",
    "VTL1_ENTRIES",
    "VTL1_STATUS",
    "INTERCEPTS",
    "VTL2_STATUS",
    "DISABLE_VP_RESULT",
    "DISABLE_PARTITION_RESULT",
    "IDT_POINTER",
    "IDT_POINTER_BASE",
    "GDT_POINTER",
    "GDT_POINTER_BASE",
)
"""Words of 8 bytes, at which R14 points."""

_PAGES = (
    "IDT",
    "INPUT",
    "OUTPUT",
    "REGISTER_INPUT",
    "REGISTER_OUTPUT",
    "MESSAGES",
    "EVENTS",
    "ASSIST_1",
    "MESSAGES_1",
    "WINDOW_TABLE",
    "OLD_PAGE",
    "NEW_PAGE",
    "ROOT_COPY",
    "DISCARDED",
    "DISCARDED_LATER",
    "PAGE_FAULT_QUEUE",
    "PROTECTED",
)
_FIRST_PAGE = 0x320000
_PAGE = 0x1000


def constants() -> Mapping[str, str]:
    """Return what the names in capitals of the assembly text stand for."""
    names = {
        "IMAGE": IMAGE,
        "VARIABLES": VARIABLES,
        "HYPERCALL_PAGE": 0x200000,
        "COUNTS": 0x340000,
        "WINDOW": 0x400000,
        "STACK": _STACK_TOP,
        "STACK_OTHER": _STACK_TOP - _STACK_SIZE,
        "STACK_1": _STACK_TOP - 2 * _STACK_SIZE,
        "STACK_2": _STACK_TOP - 3 * _STACK_SIZE,
        "LOCAL_APIC": 0xFEE00000,
        "CODE_SELECTOR": 0x10,
    }
    names |= {name: _FIRST_PAGE + _PAGE * number for number, name in enumerate(_PAGES)}
    found = {name: f"{value:#x}" for name, value in names.items()}
    found |= {name: f"r14 + {8 * number:#x}" for number, name in enumerate(VARIABLE_NAMES)}
    return MappingProxyType(found)
