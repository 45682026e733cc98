"""Posted messages."""

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus

MESSAGE_READINGS = (
    reading(
        "message_payload_too_large",
        "What answers a message payload above 240 bytes?",
        "TLFS, OpenVMM: 5; QEMU: 3",
        hyperv=HvStatus.INVALID_PARAMETER,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=HvStatus.INVALID_PARAMETER,
    ),
    reading(
        "message_type_checked",
        "Are message type 0 and types with bit 31 refused?",
        "TLFS: 5; OpenVMM and QEMU pass the type on",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=False,
    ),
    reading(
        "connection_id_mask",
        "Which bits of a message's connection id are looked up?",
        "TLFS: 24 bits and 8 of zero; OpenVMM looks up all 32; QEMU masks 24",
        hyperv=0xFFFF_FFFF,
        kvm=0x00FF_FFFF,
        xen=0xFFFF_FFFF,
        openvmm=0xFFFF_FFFF,
    ),
    reading(
        "post_without_own_synic",
        "What answers a posted message while the caller's own SynIC is off?",
        "KVM selftest hyperv_features.c: 3; no condition elsewhere",
        hyperv=None,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=None,
        none="allowed",
    ),
    reading(
        "message_to_masked_sint",
        "Does a message to a masked SINT wait until that is unmasked?",
        "TLFS inter-partition-communication: it is delivered, and its interrupt is lost; OpenVMM"
        " hv1_emulator synic.rs: it stays queued",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
)
