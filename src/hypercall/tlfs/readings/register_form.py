"""Which calls take their input in registers, and when."""

from enum import Enum

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus


class FastXmmGate(Enum):
    """When register input is #UD because XMM input is not offered."""

    WHEN_BLOCK_NEEDS_XMM = "when the input does not fit RDX and R8"
    WHEN_CALL_KNOWS_XMM = "always on a call that could use XMM, even if the input fits"


REGISTER_FORM_READINGS = (
    reading(
        "fast_post_message",
        "What answers the register form of HvCallPostMessage?",
        "too large: OpenVMM 3; QEMU hyperv.c knows no such form: 2",
        hyperv=HvStatus.INVALID_HYPERCALL_INPUT,
        kvm=HvStatus.INVALID_HYPERCALL_CODE,
        xen=HvStatus.INVALID_HYPERCALL_INPUT,
        openvmm=HvStatus.INVALID_HYPERCALL_INPUT,
    ),
    reading(
        "fast_unsupported",
        "What answers the register form on a call that has none?",
        "TLFS: too large; OpenVMM TooBigForFast: 3; KVM debug and extended calls, Xen: 5",
        hyperv=HvStatus.INVALID_HYPERCALL_INPUT,
        kvm=HvStatus.INVALID_PARAMETER,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=HvStatus.INVALID_HYPERCALL_INPUT,
    ),
    reading(
        "fast_extended",
        "What answers the register form of an extended call that could have one (0x8001)?",
        "KVM: 5 for all extended calls; the size rule allows it; a KVM fork returns it in RDX",
        hyperv=None,
        kvm=HvStatus.INVALID_PARAMETER,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=None,
        none="allowed",
    ),
    reading(
        "fast_xmm_calls",
        "What answers the register form of calls that could need XMM (flushes, IPI of a set)?",
        "Xen viridian.c: 5; the others allow it",
        hyperv=None,
        kvm=None,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=None,
        none="allowed",
    ),
    reading(
        "fast_xmm_gate",
        "When is register input #UD without the feature bit for XMM input?",
        "TLFS hypercall-interface; KVM hyperv.c and its selftest hyperv_features.c",
        hyperv=FastXmmGate.WHEN_BLOCK_NEEDS_XMM,
        kvm=FastXmmGate.WHEN_CALL_KNOWS_XMM,
        xen=FastXmmGate.WHEN_BLOCK_NEEDS_XMM,
        openvmm=FastXmmGate.WHEN_BLOCK_NEEDS_XMM,
    ),
    reading(
        "fast_xmm_32_bit",
        "May 32-bit callers pass input in XMM registers?",
        "TLFS hypercall-interface: yes; OpenVMM: one register pair only, else 3",
        hyperv=True,
        kvm=True,
        xen=True,
        openvmm=False,
    ),
    reading(
        "fast_output_refused",
        "What answers register output that is not offered or not possible?",
        "TLFS hypercall-interface: #UD; OpenVMM support.rs: 3",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=HvStatus.INVALID_HYPERCALL_INPUT,
        none="#UD",
    ),
)
