"""How a call is made: the control word, where its parameters lie, and who makes it."""

from enum import Enum

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus


class ReservedControlBits(Enum):
    """What becomes of RsvdZ bits of the control word."""

    REFUSE = "refused with INVALID_HYPERCALL_INPUT, after an unknown code"
    REFUSE_FIRST = "refused with INVALID_HYPERCALL_INPUT, before the code is looked at"
    IGNORE = "ignored"


CALLING_CONVENTION_READINGS = (
    reading(
        "reserved_control_bits",
        "Are bits 30:27, 47:44 and 63:60 of the control word refused, and before an unknown code?",
        "TLFS hypercall-interface; KVM hyperv.c; Xen viridian.c; OpenVMM support.rs",
        hyperv=ReservedControlBits.REFUSE,
        kvm=ReservedControlBits.REFUSE_FIRST,
        xen=ReservedControlBits.IGNORE,
        openvmm=ReservedControlBits.IGNORE,
    ),
    reading(
        "nested_bit",
        "What does bit 31 of the control word do where there is no hypervisor beneath?",
        "TLFS names the bit only; KVM counts it as reserved; OpenVMM and Xen ignore it",
        hyperv=HvStatus.INVALID_HYPERCALL_INPUT,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=None,
        none="ignored",
    ),
    reading(
        "rep_rules",
        "Are rep count, rep start and variable header checked against the call?",
        "TLFS hypercall-interface; KVM, OpenVMM: yes; Xen: no",
        hyperv=True,
        kvm=True,
        xen=False,
        openvmm=True,
    ),
    reading(
        "flush_list_rep_start",
        "What answers a flush of a list whose rep start index is not 0?",
        "KVM never completes partly and refuses it; the others continue from there",
        hyperv=None,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=None,
        none="goes on from there",
    ),
    reading(
        "page_crossing",
        "What answers a parameter list in memory that crosses a page?",
        "TLFS common statuses: 4; OpenVMM tests.rs: 3; KVM and Xen do not check",
        hyperv=HvStatus.INVALID_ALIGNMENT,
        kvm=None,
        xen=None,
        openvmm=HvStatus.INVALID_HYPERCALL_INPUT,
        none="not checked",
    ),
    reading(
        "misalignment",
        "What answers a parameter address that is no multiple of 8?",
        "TLFS, OpenVMM: 4; KVM and Xen do not check, for flushes and IPIs; for messages and events"
        " KVM and QEMU answer 4 too",
        hyperv=HvStatus.INVALID_ALIGNMENT,
        kvm=None,
        xen=None,
        openvmm=HvStatus.INVALID_ALIGNMENT,
        none="not checked",
    ),
    reading(
        "overlap",
        "What answers input and output lists that overlap in memory?",
        "TLFS forbids it and names no status; Linux did it for years on real hosts; no public"
        " implementation checks",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=None,
        none="not checked",
    ),
    reading(
        "address_outside_gpa_space",
        "What answers a parameter address beyond the physical address bits?",
        "TLFS common statuses: 4; the others fail to read: OpenVMM, KVM 3, Xen 5",
        hyperv=HvStatus.INVALID_ALIGNMENT,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=HvStatus.INVALID_HYPERCALL_INPUT,
    ),
    reading(
        "inaccessible_parameters",
        "What answers a parameter page that is unmapped or protected?",
        "TLFS: an intercept to the parent, which a partition without one cannot have; OpenVMM,"
        " KVM 3, Xen 5",
        hyperv=HvStatus.INVALID_HYPERCALL_INPUT,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=HvStatus.INVALID_HYPERCALL_INPUT,
    ),
    reading(
        "inaccessible_messages",
        "What answers a message or debug data that lies where there is no memory?",
        "QEMU hyperv.c serves these calls for KVM, and fails to map: 11; else as for every call",
        hyperv=None,
        kvm=HvStatus.INSUFFICIENT_MEMORY,
        xen=None,
        openvmm=None,
        none="as for other calls",
    ),
    reading(
        "real_mode_caller",
        "Is a hypercall from real mode #UD?",
        "TLFS hypercall-interface, KVM: #UD; Xen viridian.c: it completes without a result",
        hyperv=True,
        kvm=True,
        xen=False,
        openvmm=True,
    ),
    reading(
        "disabled_interface",
        "What is the call instruction while the hypercall page is not enabled?",
        "TLFS hypercall-interface: the interface is not there; KVM: one of its own hypercalls, of"
        " which there is none such: -KVM_ENOSYS",
        hyperv=None,
        kvm=-1000,
        xen=None,
        openvmm=None,
        none="#UD",
    ),
)
