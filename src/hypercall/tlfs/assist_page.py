"""The VP assist page: offsets of the fields that hypervisor and guest share.

Sources: TLFS ``datatypes/hv_vp_assist_page`` and ``datatypes/hv_vp_vtl_control``; the headers.
"""

from enum import IntEnum

APIC_ASSIST_OFFSET = 0
"""4 bytes; bit 0 is NoEoiRequired."""
NO_EOI_REQUIRED = 1

ENTRY_REASON_OFFSET = 8
"""4 bytes, `VtlEntryReason`."""
VINA_STATUS_OFFSET = 12
"""1 byte; bit 0 is VinaAsserted."""
VTL_RETURN_RAX_OFFSET = 16
"""8 bytes; for a 32-bit VTL EAX here and ECX at 20."""
VTL_RETURN_RCX_OFFSET = 24
"""8 bytes; for a 32-bit VTL EDX here."""
NESTED_CONTROL_OFFSET = 32
ENLIGHTEN_VM_ENTRY_OFFSET = 40
CURRENT_NESTED_VMCS_OFFSET = 48
TIME_UNHALTED_TIMER_EXPIRED_OFFSET = 56
VIRTUALIZATION_FAULT_OFFSET = 64
"""40 bytes, of which HV_VIRTUALIZATION_FAULT_INFORMATION uses 16: u16 parameter 0, u16 reserved,
u32 code, u64 parameter 1."""
VIRTUALIZATION_FAULT_CODE_OFFSET = 68
VIRTUALIZATION_FAULT_EPF = 1
"""The code of an enlightened page fault; 0 is none."""
INTERCEPT_MESSAGE_OFFSET = 112
"""256 bytes, an HV_MESSAGE."""
VTL_RETURN_ACTIONS_OFFSET = 368
"""256 bytes."""


class VtlEntryReason(IntEnum):
    """Why a VTL was entered."""

    RESERVED = 0
    VTL_CALL = 1
    INTERRUPT = 2
    INTERCEPT = 3
