"""The fields of flushes and IPIs: which processors, VTLs and address spaces they name."""

from enum import Enum

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus


class EmptyMask(Enum):
    """What a flush with mask 0 and without ALL_PROCESSORS means."""

    REFUSE = "refused with INVALID_PARAMETER"
    ALL_PROCESSORS = "all processors"
    NOTHING = "no processor: success, nothing is flushed"


class SetFormat(Enum):
    """What a VP set of a format other than sparse means."""

    ALL_AND_REFUSE_UNKNOWN = "format 1 is all processors, others are refused"
    ANY_IS_ALL = "every format but sparse is all processors"
    SPARSE_ONLY = "every format but sparse is refused"


class ReservedFields(Enum):
    """What becomes of RsvdZ fields and undefined flags in the parameters."""

    REFUSE = "refused with INVALID_PARAMETER"
    IGNORE = "ignored"


class IpiTargetVtl(Enum):
    """What bits 63:32 of the first word of an IPI are: the target VTL and reserved fields."""

    HONOURED = "the target VTL; reserved bits are refused with INVALID_PARAMETER"
    IGNORED = (
        "ignored in memory, refused with INVALID_HYPERCALL_INPUT in registers; the target VTL in"
        " memory once the partition has more than VTL 0"
    )
    REFUSED = "refused with INVALID_PARAMETER unless zero"


TARGET_READINGS = (
    reading(
        "reserved_fields",
        "Are RsvdZ fields and undefined flags in the parameters refused?",
        "TLFS 6.0b p84, OpenVMM: 5; KVM ignores them; Xen ignores flags, refuses fields of IPIs",
        hyperv=ReservedFields.REFUSE,
        kvm=ReservedFields.IGNORE,
        xen=ReservedFields.IGNORE,
        openvmm=ReservedFields.REFUSE,
    ),
    reading(
        "ipi_target_vtl",
        "What does the VTL byte of an IPI mean, and what answers bits that mean nothing?",
        "TLFS hv_input_vtl, OpenVMM: the target, reserved bits 5; Xen: 5 unless all is zero; KVM"
        " ignores all in memory and answers 3 in registers; a fork of it with VTLs obeys it",
        hyperv=IpiTargetVtl.HONOURED,
        kvm=IpiTargetVtl.IGNORED,
        xen=IpiTargetVtl.REFUSED,
        openvmm=IpiTargetVtl.HONOURED,
    ),
    reading(
        "mask_zero_flush",
        "What does a flush with processor mask 0 and without ALL_PROCESSORS do?",
        "TLFS 6.0b p84, OpenVMM: 5; KVM: all, for Windows Server 2012; Xen: nothing",
        hyperv=EmptyMask.REFUSE,
        kvm=EmptyMask.ALL_PROCESSORS,
        xen=EmptyMask.NOTHING,
        openvmm=EmptyMask.REFUSE,
    ),
    reading(
        "empty_set_flush",
        "What does a flush with an empty sparse set and without ALL_PROCESSORS do?",
        "OpenVMM: 5; KVM, Xen and the text of HV_VP_SET: nothing",
        hyperv=EmptyMask.REFUSE,
        kvm=EmptyMask.NOTHING,
        xen=EmptyMask.NOTHING,
        openvmm=EmptyMask.REFUSE,
    ),
    reading(
        "vp_set_format",
        "What do the formats of HV_VP_SET beside sparse mean?",
        "TLFS, KVM, Xen, Linux: 1 is all; OpenVMM: 5; formats above 1 are all on KVM, else 5",
        hyperv=SetFormat.ALL_AND_REFUSE_UNKNOWN,
        kvm=SetFormat.ANY_IS_ALL,
        xen=SetFormat.ALL_AND_REFUSE_UNKNOWN,
        openvmm=SetFormat.SPARSE_ONLY,
    ),
    reading(
        "vp_set_bank_mismatch",
        "What answers a set whose banks are not as many as the mask says?",
        "OpenVMM and a report about a real host: 5; KVM: 3; Xen does not check",
        hyperv=HvStatus.INVALID_PARAMETER,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=HvStatus.INVALID_PARAMETER,
        none="not checked",
    ),
    reading(
        "invalid_vector",
        "What answers an IPI vector outside 0x10 to 0xFF?",
        "TLFS 6.0b p105, OpenVMM, Xen: 5; KVM: 3",
        hyperv=HvStatus.INVALID_PARAMETER,
        kvm=HvStatus.INVALID_HYPERCALL_INPUT,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=HvStatus.INVALID_PARAMETER,
    ),
    reading(
        "empty_set_ipi_before_vector",
        "Does an IPI to an empty set succeed before its vector is looked at?",
        "KVM selftest hyperv_features.c: yes; OpenVMM, Xen: the vector is checked first",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    reading(
        "ipi_to_higher_vtl",
        "What answers an IPI to a VTL above the caller's?",
        "OpenVMM: 6; a KVM fork delivers it; Xen: 5; KVM ignores the byte",
        hyperv=HvStatus.ACCESS_DENIED,
        kvm=None,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=HvStatus.ACCESS_DENIED,
        none="delivered",
    ),
    reading(
        "ipi_above_vtl0",
        "What answers an IPI from a VTL above 0 to such a VTL?",
        "OpenVMM hardware_cvm: 81 for every VTL but 0; the TLFS and a KVM fork know no such rule",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=HvStatus.INVALID_VTL_STATE,
        none="sent",
    ),
    reading(
        "non_global_list_flush",
        "What answers NON_GLOBAL_MAPPINGS_ONLY on a list flush?",
        "TLFS calls it an invalid option; OpenVMM, KVM, Xen accept it",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=None,
        none="accepted",
    ),
    reading(
        "flush_address_space",
        "What answers an address space that is no valid CR3 without ALL_VIRTUAL_ADDRESS_SPACES?",
        "TLFS 6.0b p84: 5; no public implementation checks",
        hyperv=HvStatus.INVALID_PARAMETER,
        kvm=None,
        xen=None,
        openvmm=None,
        none="not checked",
    ),
)
