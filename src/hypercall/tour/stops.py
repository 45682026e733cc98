"""The stops of the tour, in order: the call, and what must come of it."""

from dataclasses import dataclass

from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus


@dataclass(frozen=True, slots=True)
class Stop:
    """One call.

    Attributes:
        call: the call.
        effect: what the guest must have seen come of it, for people.
        status: what it must answer; None for a call without a result.
    """

    call: Call
    effect: str
    status: HvStatus | None = HvStatus.SUCCESS

    @property
    def routine(self) -> str:
        """The label of the routine in the assembly text."""
        return f"stop_{self.call.name.lower()}"


STOPS = (
    Stop(Call.QUERY_CAPABILITIES, "the extended calls that follow are announced"),
    Stop(Call.GET_BOOT_ZEROED_MEMORY, "the largest range that was never written reads as zero"),
    Stop(Call.GET_VP_INDEX_FROM_APIC_ID, "APIC ids 0 and 1 have VP indexes; the first is my own"),
    Stop(Call.GET_VP_REGISTERS, "CR3 by name is what MOV reads"),
    Stop(Call.SET_VP_REGISTERS, "RDMSR reads the KERNEL_GS_BASE that was set by name"),
    Stop(Call.START_VIRTUAL_PROCESSOR, "the other processor runs, straight in 64-bit code"),
    Stop(Call.NOTIFY_LONG_SPIN_WAIT, "the other processor got on meanwhile"),
    Stop(Call.SEND_SYNTHETIC_CLUSTER_IPI, "the other processor took the interrupt"),
    Stop(Call.SEND_SYNTHETIC_CLUSTER_IPI_EX, "the other processor took the interrupt"),
    Stop(Call.RETARGET_DEVICE_INTERRUPT, "the device's interrupt came to the other processor"),
    Stop(Call.SWITCH_VIRTUAL_ADDRESS_SPACE, "CR3 is new, and a stale translation outlived that"),
    Stop(Call.FLUSH_VIRTUAL_ADDRESS_SPACE, "the stale translation is gone from both processors"),
    Stop(Call.FLUSH_VIRTUAL_ADDRESS_LIST, "the stale translation is gone from both processors"),
    Stop(Call.FLUSH_VIRTUAL_ADDRESS_SPACE_EX, "the stale translation is gone from both processors"),
    Stop(Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX, "the same, with all parameters in registers"),
    Stop(
        Call.TRANSLATE_VIRTUAL_ADDRESS,
        "the page is the one of the tables, not that of the stale translation",
    ),
    Stop(Call.POST_MESSAGE, "the message arrived in the message page, with its interrupt"),
    Stop(Call.SIGNAL_EVENT, "the flag is set in the event page, and its interrupt came"),
    Stop(Call.POST_DEBUG_DATA, "4 bytes wait for a debugger"),
    Stop(Call.RETRIEVE_DEBUG_DATA, "no debugger has sent anything", HvStatus.NO_DATA),
    Stop(Call.RESET_DEBUG_SESSION, "the 4 bytes are dropped: doing it again finds nothing"),
    Stop(
        Call.FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE,
        "taken; no nested guest runs, so there is nothing to see",
    ),
    Stop(
        Call.FLUSH_GUEST_PHYSICAL_ADDRESS_LIST,
        "both ranges taken; no nested guest runs, so there is nothing to see",
    ),
    Stop(Call.MEMORY_HEAT_HINT, "the page that was discarded reads as zero"),
    Stop(
        Call.MEMORY_HEAT_HINT_ASYNC,
        "the page that was discarded read as zero a while later",
        HvStatus.CALL_PENDING,
    ),
    Stop(Call.EPF_SETUP, "the completion queue is empty and has one page"),
    Stop(Call.ENABLE_PARTITION_VTL, "VsmPartitionStatus has VTL 1"),
    Stop(Call.ENABLE_VP_VTL, "VsmVpStatus has VTL 1"),
    Stop(Call.VTL_CALL, "VTL 1 ran from its initial context, and came back", None),
    Stop(Call.VTL_RETURN, "RAX and RCX are those that VTL 1 left in its assist page", None),
    Stop(
        Call.MODIFY_VTL_PROTECTION_MASK,
        "VTL 1 was told of my write to its page; the write went through once it let it",
    ),
    Stop(Call.DISABLE_VP_VTL, "VTL 2 took VTL 1 away: VsmVpStatus lacks it"),
    Stop(Call.DISABLE_PARTITION_VTL, "VsmPartitionStatus lacks VTL 1"),
)
"""Every call once."""
