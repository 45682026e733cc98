"""Processors that are started, and their registers."""

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus

PROCESSOR_READINGS = (
    reading(
        "start_self",
        "What answers HvCallStartVirtualProcessor for the calling processor?",
        "OpenVMM: 14 (its WHP back end: 5)",
        hyperv=HvStatus.INVALID_VP_INDEX,
        kvm=HvStatus.INVALID_VP_INDEX,
        xen=HvStatus.INVALID_VP_INDEX,
        openvmm=HvStatus.INVALID_VP_INDEX,
    ),
    reading(
        "start_running",
        "What answers the start of a processor that runs?",
        "OpenVMM: 21, remarking that the call works like an INIT",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=HvStatus.INVALID_VP_STATE,
        none="starts anew, as an INIT would",
    ),
    reading(
        "start_context_checked",
        "Is the initial context of a started processor or an enabled VTL checked?",
        "TLFS: INVALID_REGISTER_VALUE; OpenVMM and a KVM fork do not check",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=False,
    ),
    reading(
        "own_processor_registers",
        "What answers the access to processor registers of the caller's own VTL?",
        "TLFS HvCallGetVpRegisters names no such rule; OpenVMM: 6",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=HvStatus.ACCESS_DENIED,
        none="allowed",
    ),
)
