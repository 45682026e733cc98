"""The debug calls."""

from enum import Enum

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus


class DebugRemainder(Enum):
    """What RemainingCount of HvRetrieveDebugData counts."""

    BUFFERED = "the bytes that still wait in the session"
    UNFILLED = "the bytes of the request that were not filled"


DEBUGGING_READINGS = (
    reading(
        "debugging_unsupported",
        "What answers the debug calls where the hypervisor has no debugging support?",
        "TLFS 2.0a p199: 30; KVM: 2, before the privilege is looked at; Xen and OpenVMM have none"
        " of the calls",
        hyperv=HvStatus.FEATURE_UNAVAILABLE,
        kvm=HvStatus.INVALID_HYPERCALL_CODE,
        xen=HvStatus.INVALID_HYPERCALL_CODE,
        openvmm=HvStatus.INVALID_HYPERCALL_CODE,
    ),
    reading(
        "debug_calls_need_option",
        "Are the debug calls refused unless DEBUG_DEVICE_OPTIONS says to use them?",
        "KVM hyperv.c: 8 without bit 2; TLFS 2.0a knows no such register",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    reading(
        "debug_post_partial",
        "Does HvPostDebugData take a part of the data when there is no room for all?",
        "TLFS 2.0a p200: all or nothing; QEMU syndbg.c sends a part and counts the rest as pending",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    reading(
        "debug_remaining_count",
        "What does RemainingCount of HvRetrieveDebugData count?",
        "TLFS 2.0a p202: what still waits; QEMU hyperv.c: what of the request was not filled",
        hyperv=DebugRemainder.BUFFERED,
        kvm=DebugRemainder.UNFILLED,
        xen=DebugRemainder.BUFFERED,
        openvmm=DebugRemainder.BUFFERED,
    ),
    reading(
        "debug_retrieve_options",
        "Are the options and the timeout of HvRetrieveDebugData obeyed?",
        "TLFS 2.0a p201: yes; QEMU syndbg.c ignores them and never waits",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=True,
    ),
    reading(
        "debug_reset_gives_connection",
        "Does HvResetDebugSession write the connection's addresses instead of dropping data?",
        "TLFS 2.0a p203: it drops data and has no output; QEMU hyperv.c always writes 24 bytes",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
)
