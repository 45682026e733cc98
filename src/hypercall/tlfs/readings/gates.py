"""What a partition must have been given before it may make a call."""

from enum import Enum

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus


class Enforcement(Enum):
    """Whether what CPUID only recommends is also a condition."""

    ADVICE = "advice only"
    GATE = "refused with ACCESS_DENIED"


GATE_READINGS = (
    reading(
        "missing_extended_privilege",
        "What answers an extended call without EnableExtendedHypercalls?",
        "KVM selftest hyperv_features.c: 6; Xen, OpenVMM: 2",
        hyperv=HvStatus.ACCESS_DENIED,
        kvm=HvStatus.ACCESS_DENIED,
        xen=HvStatus.INVALID_HYPERCALL_CODE,
        openvmm=HvStatus.INVALID_HYPERCALL_CODE,
    ),
    reading(
        "recommendations",
        "Are the CPUID recommendations of flushes, IPIs and spin waits also gates?",
        "TLFS: recommendations; KVM with enforced CPUID: 6 (selftest hyperv_features.c)",
        hyperv=Enforcement.ADVICE,
        kvm=Enforcement.GATE,
        xen=Enforcement.ADVICE,
        openvmm=Enforcement.ADVICE,
    ),
)
