"""HvCallTranslateVirtualAddress: whose addresses it translates."""

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus

TRANSLATION_READINGS = (
    reading(
        "translate_other_partition",
        "What answers HvCallTranslateVirtualAddress for a partition that is not the caller's?",
        "TLFS HvCallTranslateVirtualAddress names no status; OpenVMM: 6; a fork of KVM: 3",
        hyperv=HvStatus.INVALID_PARTITION_ID,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=HvStatus.INVALID_PARTITION_ID,
        openvmm=HvStatus.ACCESS_DENIED,
    ),
    reading(
        "translate_other_processor",
        "What answers HvCallTranslateVirtualAddress for another virtual processor?",
        "TLFS: the processor is a parameter; OpenVMM: 6; a fork of KVM: 3",
        hyperv=None,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=HvStatus.ACCESS_DENIED,
        none="translated",
    ),
    reading(
        "translate_higher_vtl",
        "What answers HvCallTranslateVirtualAddress for a VTL above the caller's?",
        "OpenVMM: 6; a fork of KVM: 3",
        hyperv=HvStatus.ACCESS_DENIED,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=HvStatus.ACCESS_DENIED,
        openvmm=HvStatus.ACCESS_DENIED,
    ),
    reading(
        "translate_own_vtl",
        "What answers HvCallTranslateVirtualAddress for the VTL that the caller runs in?",
        "TLFS names no such rule; a fork of KVM allows it; OpenVMM: 6",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=HvStatus.ACCESS_DENIED,
        none="translated",
    ),
)
