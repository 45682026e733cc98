"""The declarations of all calls, one module for each family, and the table of them."""

from enum import IntEnum

from hypercall.tlfs.calls.address_spaces import ADDRESS_SPACE_CALLS
from hypercall.tlfs.calls.debugging import DEBUGGING_CALLS
from hypercall.tlfs.calls.extended import EXTENDED_CALLS
from hypercall.tlfs.calls.interrupts import INTERRUPT_CALLS
from hypercall.tlfs.calls.messages_and_events import MESSAGE_AND_EVENT_CALLS
from hypercall.tlfs.calls.nested import NESTED_CALLS
from hypercall.tlfs.calls.processors import PROCESSOR_CALLS
from hypercall.tlfs.calls.table import CallTable
from hypercall.tlfs.calls.virtual_trust_levels import VIRTUAL_TRUST_LEVEL_CALLS

DECLARATIONS = CallTable(
    (
        *ADDRESS_SPACE_CALLS,
        *PROCESSOR_CALLS,
        *INTERRUPT_CALLS,
        *VIRTUAL_TRUST_LEVEL_CALLS,
        *MESSAGE_AND_EVENT_CALLS,
        *DEBUGGING_CALLS,
        *NESTED_CALLS,
        *EXTENDED_CALLS,
    )
)
"""Every call that the product knows: the 32 of the reference table, and what is beside them."""


class Call(IntEnum):
    """The call codes, by the TLFS's names in Python case."""

    SWITCH_VIRTUAL_ADDRESS_SPACE = 0x0001
    FLUSH_VIRTUAL_ADDRESS_SPACE = 0x0002
    FLUSH_VIRTUAL_ADDRESS_LIST = 0x0003
    NOTIFY_LONG_SPIN_WAIT = 0x0008
    SEND_SYNTHETIC_CLUSTER_IPI = 0x000B
    MODIFY_VTL_PROTECTION_MASK = 0x000C
    ENABLE_PARTITION_VTL = 0x000D
    DISABLE_PARTITION_VTL = 0x000E
    ENABLE_VP_VTL = 0x000F
    DISABLE_VP_VTL = 0x0010
    VTL_CALL = 0x0011
    VTL_RETURN = 0x0012
    FLUSH_VIRTUAL_ADDRESS_SPACE_EX = 0x0013
    FLUSH_VIRTUAL_ADDRESS_LIST_EX = 0x0014
    SEND_SYNTHETIC_CLUSTER_IPI_EX = 0x0015
    GET_VP_REGISTERS = 0x0050
    SET_VP_REGISTERS = 0x0051
    TRANSLATE_VIRTUAL_ADDRESS = 0x0052
    POST_MESSAGE = 0x005C
    SIGNAL_EVENT = 0x005D
    POST_DEBUG_DATA = 0x0069
    RETRIEVE_DEBUG_DATA = 0x006A
    RESET_DEBUG_SESSION = 0x006B
    RETARGET_DEVICE_INTERRUPT = 0x007E
    START_VIRTUAL_PROCESSOR = 0x0099
    GET_VP_INDEX_FROM_APIC_ID = 0x009A
    FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE = 0x00AF
    FLUSH_GUEST_PHYSICAL_ADDRESS_LIST = 0x00B0
    QUERY_CAPABILITIES = 0x8001
    GET_BOOT_ZEROED_MEMORY = 0x8002
    MEMORY_HEAT_HINT = 0x8003
    EPF_SETUP = 0x8004
    MEMORY_HEAT_HINT_ASYNC = 0x8006


__all__ = ["Call", "CallTable", "DECLARATIONS"]
