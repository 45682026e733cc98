"""Where sources disagree: one named decision for each question, with its variants and sources.

A partition has a `ReadingSet`. ``hyperv`` is the default: what the TLFS says, unless there is
evidence that Microsoft's hypervisor does otherwise. ``kvm``, ``xen`` and ``openvmm`` answer as
those implementations do; a question that one of them never meets has the answer of ``hyperv``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from enum import Enum
from types import MappingProxyType
from typing import Any, Self

from hypercall.errors import InputError
from hypercall.tlfs.status import HvStatus

SET_NAMES = ("hyperv", "kvm", "xen", "openvmm")


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


class ReservedControlBits(Enum):
    """What becomes of RsvdZ bits of the control word."""

    REFUSE = "refused with INVALID_HYPERCALL_INPUT, after an unknown code"
    REFUSE_FIRST = "refused with INVALID_HYPERCALL_INPUT, before the code is looked at"
    IGNORE = "ignored"


class ReservedFields(Enum):
    """What becomes of RsvdZ fields and undefined flags in the parameters."""

    REFUSE = "refused with INVALID_PARAMETER"
    IGNORE = "ignored"


class FastXmmGate(Enum):
    """When register input is #UD because XMM input is not offered."""

    WHEN_BLOCK_NEEDS_XMM = "when the input does not fit RDX and R8"
    WHEN_CALL_KNOWS_XMM = "always on a call that could use XMM, even if the input fits"


class Enforcement(Enum):
    """Whether what CPUID only recommends is also a condition."""

    ADVICE = "advice only"
    GATE = "refused with ACCESS_DENIED"


class IpiTargetVtl(Enum):
    """What bits 63:32 of the first word of an IPI are: the target VTL and reserved fields."""

    HONOURED = "the target VTL; reserved bits are refused with INVALID_PARAMETER"
    IGNORED = (
        "ignored in memory, refused with INVALID_HYPERCALL_INPUT in registers; the target VTL in"
        " memory once the partition has more than VTL 0"
    )
    REFUSED = "refused with INVALID_PARAMETER unless zero"


class DebugRemainder(Enum):
    """What RemainingCount of HvRetrieveDebugData counts."""

    BUFFERED = "the bytes that still wait in the session"
    UNFILLED = "the bytes of the request that were not filled"


class ProtectionTarget(Enum):
    """Which VTL HvCallModifyVtlProtectionMask names."""

    SETTER = "the one whose protection it is, and which it does not bind; VTL 0 is refused with 5"
    RESTRICTED = "the one that is restricted, by the caller's VTL"


class ExecuteBits(Enum):
    """Which bits of a VTL's protections are about execution."""

    KERNEL_FIRST = "bit 2 the kernel's, bit 3 the users'"
    USER_FIRST = "bit 2 the users', bit 3 the kernel's, or everybody's without MBEC"


class PageWithoutOsId(Enum):
    """What becomes of the hypercall page while GUEST_OS_ID is zero."""

    DISABLED = "the enable bit stays 0, and zeroing the id disables the page"
    WRITE_DROPPED = "writes of HYPERCALL are dropped, and zeroing the id disables the page"
    ENABLED = "it can be enabled, and zeroing the id does not disable it"


@dataclass(frozen=True, slots=True)
class Reading:
    """One decision.

    Attributes:
        name: attribute of `ReadingSet`.
        question: what the sources disagree about.
        variants: the answer of each set.
        sources: who says so.
        none: what an answer of None means.
    """

    name: str
    question: str
    variants: Mapping[str, Any]
    sources: str
    none: str = "not refused"

    def answer(self, name: str) -> str:
        """Return the answer of a set in words, for example ``INVALID_PARAMETER (5)``."""
        value = self.variants[name]
        if value is None:
            return self.none
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, HvStatus):
            return f"{value.name} ({int(value)})"
        if isinstance(value, Enum):
            return str(value.value)
        return f"{value:#x}" if value >= 0 else str(value)


def _reading(
    name: str,
    question: str,
    sources: str,
    *,
    hyperv: object,
    kvm: object,
    xen: object,
    openvmm: object,
    none: str = "not refused",
) -> Reading:
    variants = {"hyperv": hyperv, "kvm": kvm, "xen": xen, "openvmm": openvmm}
    return Reading(name, question, MappingProxyType(variants), sources, none)


_S = HvStatus

READINGS = (
    _reading(
        "reserved_control_bits",
        "Are bits 30:27, 47:44 and 63:60 of the control word refused, and before an unknown code?",
        "TLFS hypercall-interface; KVM hyperv.c; Xen viridian.c; OpenVMM support.rs",
        hyperv=ReservedControlBits.REFUSE,
        kvm=ReservedControlBits.REFUSE_FIRST,
        xen=ReservedControlBits.IGNORE,
        openvmm=ReservedControlBits.IGNORE,
    ),
    _reading(
        "nested_bit",
        "What does bit 31 of the control word do where there is no hypervisor beneath?",
        "TLFS names the bit only; KVM counts it as reserved; OpenVMM and Xen ignore it",
        hyperv=_S.INVALID_HYPERCALL_INPUT,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=None,
        none="ignored",
    ),
    _reading(
        "rep_rules",
        "Are rep count, rep start and variable header checked against the call?",
        "TLFS hypercall-interface; KVM, OpenVMM: yes; Xen: no",
        hyperv=True,
        kvm=True,
        xen=False,
        openvmm=True,
    ),
    _reading(
        "flush_list_rep_start",
        "What answers a flush of a list whose rep start index is not 0?",
        "KVM never completes partly and refuses it; the others continue from there",
        hyperv=None,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=None,
        none="goes on from there",
    ),
    _reading(
        "page_crossing",
        "What answers a parameter list in memory that crosses a page?",
        "TLFS common statuses: 4; OpenVMM tests.rs: 3; KVM and Xen do not check",
        hyperv=_S.INVALID_ALIGNMENT,
        kvm=None,
        xen=None,
        openvmm=_S.INVALID_HYPERCALL_INPUT,
        none="not checked",
    ),
    _reading(
        "misalignment",
        "What answers a parameter address that is no multiple of 8?",
        "TLFS, OpenVMM: 4; KVM and Xen do not check, for flushes and IPIs; for messages and events"
        " KVM and QEMU answer 4 too",
        hyperv=_S.INVALID_ALIGNMENT,
        kvm=None,
        xen=None,
        openvmm=_S.INVALID_ALIGNMENT,
        none="not checked",
    ),
    _reading(
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
    _reading(
        "address_outside_gpa_space",
        "What answers a parameter address beyond the physical address bits?",
        "TLFS common statuses: 4; the others fail to read: OpenVMM, KVM 3, Xen 5",
        hyperv=_S.INVALID_ALIGNMENT,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=_S.INVALID_PARAMETER,
        openvmm=_S.INVALID_HYPERCALL_INPUT,
    ),
    _reading(
        "inaccessible_parameters",
        "What answers a parameter page that is unmapped or protected?",
        "TLFS: an intercept to the parent, which a partition without one cannot have; OpenVMM,"
        " KVM 3, Xen 5",
        hyperv=_S.INVALID_HYPERCALL_INPUT,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=_S.INVALID_PARAMETER,
        openvmm=_S.INVALID_HYPERCALL_INPUT,
    ),
    _reading(
        "inaccessible_messages",
        "What answers a message or debug data that lies where there is no memory?",
        "QEMU hyperv.c serves these calls for KVM, and fails to map: 11; else as for every call",
        hyperv=None,
        kvm=_S.INSUFFICIENT_MEMORY,
        xen=None,
        openvmm=None,
        none="as for other calls",
    ),
    _reading(
        "real_mode_caller",
        "Is a hypercall from real mode #UD?",
        "TLFS hypercall-interface, KVM: #UD; Xen viridian.c: it completes without a result",
        hyperv=True,
        kvm=True,
        xen=False,
        openvmm=True,
    ),
    _reading(
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
    _reading(
        "page_without_os_id",
        "What becomes of the hypercall page while GUEST_OS_ID is zero?",
        "TLFS hypercall-interface; KVM hyperv.c; Xen viridian.c only logs it; OpenVMM"
        " hv1_emulator does not check",
        hyperv=PageWithoutOsId.DISABLED,
        kvm=PageWithoutOsId.WRITE_DROPPED,
        xen=PageWithoutOsId.ENABLED,
        openvmm=PageWithoutOsId.ENABLED,
    ),
    _reading(
        "hypercall_page_writable",
        "Can the guest write into the hypercall page?",
        "TLFS hypercall-interface, OpenVMM: #GP; KVM and Xen put the code into the guest's own RAM",
        hyperv=False,
        kvm=True,
        xen=True,
        openvmm=False,
    ),
    _reading(
        "assist_page_reserved_bits",
        "Is a write of VP_ASSIST_PAGE with bits 11:1 set #GP?",
        "TLFS: preserved; OpenVMM: #GP",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    _reading(
        "fast_post_message",
        "What answers the register form of HvCallPostMessage?",
        "too large: OpenVMM 3; QEMU hyperv.c knows no such form: 2",
        hyperv=_S.INVALID_HYPERCALL_INPUT,
        kvm=_S.INVALID_HYPERCALL_CODE,
        xen=_S.INVALID_HYPERCALL_INPUT,
        openvmm=_S.INVALID_HYPERCALL_INPUT,
    ),
    _reading(
        "fast_unsupported",
        "What answers the register form on a call that has none?",
        "TLFS: too large; OpenVMM TooBigForFast: 3; KVM debug and extended calls, Xen: 5",
        hyperv=_S.INVALID_HYPERCALL_INPUT,
        kvm=_S.INVALID_PARAMETER,
        xen=_S.INVALID_PARAMETER,
        openvmm=_S.INVALID_HYPERCALL_INPUT,
    ),
    _reading(
        "fast_extended",
        "What answers the register form of an extended call that could have one (0x8001)?",
        "KVM: 5 for all extended calls; the size rule allows it; a KVM fork returns it in RDX",
        hyperv=None,
        kvm=_S.INVALID_PARAMETER,
        xen=_S.INVALID_PARAMETER,
        openvmm=None,
        none="allowed",
    ),
    _reading(
        "fast_xmm_calls",
        "What answers the register form of calls that could need XMM (flushes, IPI of a set)?",
        "Xen viridian.c: 5; the others allow it",
        hyperv=None,
        kvm=None,
        xen=_S.INVALID_PARAMETER,
        openvmm=None,
        none="allowed",
    ),
    _reading(
        "fast_xmm_gate",
        "When is register input #UD without the feature bit for XMM input?",
        "TLFS hypercall-interface; KVM hyperv.c and its selftest hyperv_features.c",
        hyperv=FastXmmGate.WHEN_BLOCK_NEEDS_XMM,
        kvm=FastXmmGate.WHEN_CALL_KNOWS_XMM,
        xen=FastXmmGate.WHEN_BLOCK_NEEDS_XMM,
        openvmm=FastXmmGate.WHEN_BLOCK_NEEDS_XMM,
    ),
    _reading(
        "fast_xmm_32_bit",
        "May 32-bit callers pass input in XMM registers?",
        "TLFS hypercall-interface: yes; OpenVMM: one register pair only, else 3",
        hyperv=True,
        kvm=True,
        xen=True,
        openvmm=False,
    ),
    _reading(
        "fast_output_refused",
        "What answers register output that is not offered or not possible?",
        "TLFS hypercall-interface: #UD; OpenVMM support.rs: 3",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=_S.INVALID_HYPERCALL_INPUT,
        none="#UD",
    ),
    _reading(
        "missing_extended_privilege",
        "What answers an extended call without EnableExtendedHypercalls?",
        "KVM selftest hyperv_features.c: 6; Xen, OpenVMM: 2",
        hyperv=_S.ACCESS_DENIED,
        kvm=_S.ACCESS_DENIED,
        xen=_S.INVALID_HYPERCALL_CODE,
        openvmm=_S.INVALID_HYPERCALL_CODE,
    ),
    _reading(
        "recommendations",
        "Are the CPUID recommendations of flushes, IPIs and spin waits also gates?",
        "TLFS: recommendations; KVM with enforced CPUID: 6 (selftest hyperv_features.c)",
        hyperv=Enforcement.ADVICE,
        kvm=Enforcement.GATE,
        xen=Enforcement.ADVICE,
        openvmm=Enforcement.ADVICE,
    ),
    _reading(
        "reserved_fields",
        "Are RsvdZ fields and undefined flags in the parameters refused?",
        "TLFS 6.0b p84, OpenVMM: 5; KVM ignores them; Xen ignores flags, refuses fields of IPIs",
        hyperv=ReservedFields.REFUSE,
        kvm=ReservedFields.IGNORE,
        xen=ReservedFields.IGNORE,
        openvmm=ReservedFields.REFUSE,
    ),
    _reading(
        "ipi_target_vtl",
        "What does the VTL byte of an IPI mean, and what answers bits that mean nothing?",
        "TLFS hv_input_vtl, OpenVMM: the target, reserved bits 5; Xen: 5 unless all is zero; KVM"
        " ignores all in memory and answers 3 in registers; a fork of it with VTLs obeys it",
        hyperv=IpiTargetVtl.HONOURED,
        kvm=IpiTargetVtl.IGNORED,
        xen=IpiTargetVtl.REFUSED,
        openvmm=IpiTargetVtl.HONOURED,
    ),
    _reading(
        "mask_zero_flush",
        "What does a flush with processor mask 0 and without ALL_PROCESSORS do?",
        "TLFS 6.0b p84, OpenVMM: 5; KVM: all, for Windows Server 2012; Xen: nothing",
        hyperv=EmptyMask.REFUSE,
        kvm=EmptyMask.ALL_PROCESSORS,
        xen=EmptyMask.NOTHING,
        openvmm=EmptyMask.REFUSE,
    ),
    _reading(
        "empty_set_flush",
        "What does a flush with an empty sparse set and without ALL_PROCESSORS do?",
        "OpenVMM: 5; KVM, Xen and the text of HV_VP_SET: nothing",
        hyperv=EmptyMask.REFUSE,
        kvm=EmptyMask.NOTHING,
        xen=EmptyMask.NOTHING,
        openvmm=EmptyMask.REFUSE,
    ),
    _reading(
        "vp_set_format",
        "What do the formats of HV_VP_SET beside sparse mean?",
        "TLFS, KVM, Xen, Linux: 1 is all; OpenVMM: 5; formats above 1 are all on KVM, else 5",
        hyperv=SetFormat.ALL_AND_REFUSE_UNKNOWN,
        kvm=SetFormat.ANY_IS_ALL,
        xen=SetFormat.ALL_AND_REFUSE_UNKNOWN,
        openvmm=SetFormat.SPARSE_ONLY,
    ),
    _reading(
        "vp_set_bank_mismatch",
        "What answers a set whose banks are not as many as the mask says?",
        "OpenVMM and a report about a real host: 5; KVM: 3; Xen does not check",
        hyperv=_S.INVALID_PARAMETER,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=_S.INVALID_PARAMETER,
        none="not checked",
    ),
    _reading(
        "invalid_vector",
        "What answers an IPI vector outside 0x10 to 0xFF?",
        "TLFS 6.0b p105, OpenVMM, Xen: 5; KVM: 3",
        hyperv=_S.INVALID_PARAMETER,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=_S.INVALID_PARAMETER,
        openvmm=_S.INVALID_PARAMETER,
    ),
    _reading(
        "empty_set_ipi_before_vector",
        "Does an IPI to an empty set succeed before its vector is looked at?",
        "KVM selftest hyperv_features.c: yes; OpenVMM, Xen: the vector is checked first",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "ipi_to_higher_vtl",
        "What answers an IPI to a VTL above the caller's?",
        "OpenVMM: 6; a KVM fork delivers it; Xen: 5; KVM ignores the byte",
        hyperv=_S.ACCESS_DENIED,
        kvm=None,
        xen=_S.INVALID_PARAMETER,
        openvmm=_S.ACCESS_DENIED,
        none="delivered",
    ),
    _reading(
        "ipi_above_vtl0",
        "What answers an IPI from a VTL above 0 to such a VTL?",
        "OpenVMM hardware_cvm: 81 for every VTL but 0; the TLFS and a KVM fork know no such rule",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=_S.INVALID_VTL_STATE,
        none="sent",
    ),
    _reading(
        "non_global_list_flush",
        "What answers NON_GLOBAL_MAPPINGS_ONLY on a list flush?",
        "TLFS calls it an invalid option; OpenVMM, KVM, Xen accept it",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=None,
        none="accepted",
    ),
    _reading(
        "flush_address_space",
        "What answers an address space that is no valid CR3 without ALL_VIRTUAL_ADDRESS_SPACES?",
        "TLFS 6.0b p84: 5; no public implementation checks",
        hyperv=_S.INVALID_PARAMETER,
        kvm=None,
        xen=None,
        openvmm=None,
        none="not checked",
    ),
    _reading(
        "message_payload_too_large",
        "What answers a message payload above 240 bytes?",
        "TLFS, OpenVMM: 5; QEMU: 3",
        hyperv=_S.INVALID_PARAMETER,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=_S.INVALID_PARAMETER,
        openvmm=_S.INVALID_PARAMETER,
    ),
    _reading(
        "message_type_checked",
        "Are message type 0 and types with bit 31 refused?",
        "TLFS: 5; OpenVMM and QEMU pass the type on",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=False,
    ),
    _reading(
        "connection_id_mask",
        "Which bits of a message's connection id are looked up?",
        "TLFS: 24 bits and 8 of zero; OpenVMM looks up all 32; QEMU masks 24",
        hyperv=0xFFFF_FFFF,
        kvm=0x00FF_FFFF,
        xen=0xFFFF_FFFF,
        openvmm=0xFFFF_FFFF,
    ),
    _reading(
        "post_without_own_synic",
        "What answers a posted message while the caller's own SynIC is off?",
        "KVM selftest hyperv_features.c: 3; no condition elsewhere",
        hyperv=None,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=None,
        none="allowed",
    ),
    _reading(
        "message_to_masked_sint",
        "Does a message to a masked SINT wait until that is unmasked?",
        "TLFS inter-partition-communication: it is delivered, and its interrupt is lost; OpenVMM"
        " hv1_emulator synic.rs: it stays queued",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    _reading(
        "start_self",
        "What answers HvCallStartVirtualProcessor for the calling processor?",
        "OpenVMM: 14 (its WHP back end: 5)",
        hyperv=_S.INVALID_VP_INDEX,
        kvm=_S.INVALID_VP_INDEX,
        xen=_S.INVALID_VP_INDEX,
        openvmm=_S.INVALID_VP_INDEX,
    ),
    _reading(
        "start_running",
        "What answers the start of a processor that runs?",
        "OpenVMM: 21, remarking that the call works like an INIT",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=_S.INVALID_VP_STATE,
        none="starts anew, as an INIT would",
    ),
    _reading(
        "start_context_checked",
        "Is the initial context of a started processor or an enabled VTL checked?",
        "TLFS: INVALID_REGISTER_VALUE; OpenVMM and a KVM fork do not check",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=False,
    ),
    _reading(
        "hypercall_msr_reserved_bits",
        "Is a write of HYPERCALL with bits 11:2 set #GP?",
        "TLFS: preserved; OpenVMM: #GP",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    _reading(
        "debugging_unsupported",
        "What answers the debug calls where the hypervisor has no debugging support?",
        "TLFS 2.0a p199: 30; KVM: 2, before the privilege is looked at; Xen and OpenVMM have none"
        " of the calls",
        hyperv=_S.FEATURE_UNAVAILABLE,
        kvm=_S.INVALID_HYPERCALL_CODE,
        xen=_S.INVALID_HYPERCALL_CODE,
        openvmm=_S.INVALID_HYPERCALL_CODE,
    ),
    _reading(
        "debug_calls_need_option",
        "Are the debug calls refused unless DEBUG_DEVICE_OPTIONS says to use them?",
        "KVM hyperv.c: 8 without bit 2; TLFS 2.0a knows no such register",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "debug_post_partial",
        "Does HvPostDebugData take a part of the data when there is no room for all?",
        "TLFS 2.0a p200: all or nothing; QEMU syndbg.c sends a part and counts the rest as pending",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "debug_remaining_count",
        "What does RemainingCount of HvRetrieveDebugData count?",
        "TLFS 2.0a p202: what still waits; QEMU hyperv.c: what of the request was not filled",
        hyperv=DebugRemainder.BUFFERED,
        kvm=DebugRemainder.UNFILLED,
        xen=DebugRemainder.BUFFERED,
        openvmm=DebugRemainder.BUFFERED,
    ),
    _reading(
        "debug_retrieve_options",
        "Are the options and the timeout of HvRetrieveDebugData obeyed?",
        "TLFS 2.0a p201: yes; QEMU syndbg.c ignores them and never waits",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=True,
    ),
    _reading(
        "debug_reset_gives_connection",
        "Does HvResetDebugSession write the connection's addresses instead of dropping data?",
        "TLFS 2.0a p203: it drops data and has no output; QEMU hyperv.c always writes 24 bytes",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "nested_unsupported",
        "What answers a flush of a second-level space where nothing can be nested?",
        "TLFS 6.0b p191: 21; KVM, Xen, OpenVMM do not implement the calls: 2",
        hyperv=_S.INVALID_VP_STATE,
        kvm=_S.INVALID_HYPERCALL_CODE,
        xen=_S.INVALID_HYPERCALL_CODE,
        openvmm=_S.INVALID_HYPERCALL_CODE,
    ),
    _reading(
        "memory_hint_small_range",
        "What answers a memory heat hint for a range below 2 MiB?",
        "Linux hv_balloon.c: older hosts 5, newer ones take it; nobody else has the call",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=None,
        none="taken",
    ),
    _reading(
        "async_memory_hint",
        "What answers HvExtCallMemoryHeatHintAsync when it has taken the hints?",
        "inferred from the name and from CALL_PENDING; no public implementation or use",
        hyperv=_S.CALL_PENDING,
        kvm=_S.CALL_PENDING,
        xen=_S.CALL_PENDING,
        openvmm=_S.CALL_PENDING,
    ),
    _reading(
        "partition_vtl_range",
        "What answers HvCallEnablePartitionVtl for VTL 0 or a VTL above the maximum?",
        "TLFS 6.0b p171, a fork of KVM and its tests: 5; OpenVMM: 6",
        hyperv=_S.INVALID_PARAMETER,
        kvm=_S.INVALID_PARAMETER,
        xen=_S.INVALID_PARAMETER,
        openvmm=_S.ACCESS_DENIED,
    ),
    _reading(
        "missing_vsm_privilege",
        "What answers a call without AccessVsm, AccessVpRegisters or StartVirtualProcessor?",
        "TLFS status tables: 6; a fork of KVM: 2; Xen has none of the calls",
        hyperv=_S.ACCESS_DENIED,
        kvm=_S.INVALID_HYPERCALL_CODE,
        xen=_S.INVALID_HYPERCALL_CODE,
        openvmm=_S.ACCESS_DENIED,
    ),
    _reading(
        "first_vp_vtl_elsewhere",
        "What answers a VTL that enables a higher one first on another processor?",
        "TLFS HvCallEnableVpVtl names no such rule; OpenVMM: 6",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=_S.ACCESS_DENIED,
        none="allowed",
    ),
    _reading(
        "protection_other_partition",
        "What answers HvCallModifyVtlProtectionMask for a partition that is not the caller's?",
        "TLFS 6.0b p169: 13; OpenVMM: 6",
        hyperv=_S.INVALID_PARTITION_ID,
        kvm=_S.INVALID_PARTITION_ID,
        xen=_S.INVALID_PARTITION_ID,
        openvmm=_S.ACCESS_DENIED,
    ),
    _reading(
        "protection_target_vtl",
        "Which VTL does HvCallModifyVtlProtectionMask name?",
        "OpenVMM, Linux and a VTL 1 kernel run on real hosts: the one whose protection it is; a"
        " fork of KVM and its tests: the one that is restricted",
        hyperv=ProtectionTarget.SETTER,
        kvm=ProtectionTarget.RESTRICTED,
        xen=ProtectionTarget.SETTER,
        openvmm=ProtectionTarget.SETTER,
    ),
    _reading(
        "user_execute_without_mbec",
        "Is execution by users, but not by the kernel, refused where there is no MBEC?",
        "TLFS vsm: the bit for users is ignored; OpenVMM: refused",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    _reading(
        "protection_execute_bits",
        "Which bits of a VTL's protections are about execution?",
        "TLFS web and headers, OpenVMM: kernel before users; TLFS 5.0 and 6.0b, the tests of a"
        " fork of KVM: users before the kernel",
        hyperv=ExecuteBits.KERNEL_FIRST,
        kvm=ExecuteBits.USER_FIRST,
        xen=ExecuteBits.KERNEL_FIRST,
        openvmm=ExecuteBits.KERNEL_FIRST,
    ),
    _reading(
        "default_protection_change",
        "What answers a change of the default protections once VTL protection is enabled?",
        "TLFS vsm: they cannot be changed; OpenVMM: 80; the tests of a fork of KVM: success, and"
        " they stay as they are",
        hyperv=_S.INVALID_REGISTER_VALUE,
        kvm=None,
        xen=_S.INVALID_REGISTER_VALUE,
        openvmm=_S.INVALID_REGISTER_VALUE,
        none="taken, without an effect",
    ),
    _reading(
        "vsm_capabilities_mirrored",
        "Are the bits of VsmCapabilities counted from the top?",
        "Headers, OpenVMM: from bit 0; the table of TLFS vsm is mirrored, and the tests of a fork"
        " of KVM follow it",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "new_vtl_apic_enabled",
        "Does the APIC of a VTL that is just enabled accept interrupts?",
        "OpenVMM: it is as after a reset, disabled in its SVR; the tests of a fork of KVM send it"
        " interrupts without enabling it",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "reference_tsc_in_ram",
        "Is the reference TSC page written into the page beneath, which other VTLs see too?",
        "TLFS: it is an overlay, and the VTL's own; KVM hyperv.c: written to memory, and the tests"
        " of a fork of it read both pages from one VTL",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "start_higher_vtl",
        "What answers HvCallStartVirtualProcessor for a VTL above the caller's?",
        "TLFS, OpenVMM: 6; a fork of KVM: 5",
        hyperv=_S.ACCESS_DENIED,
        kvm=_S.INVALID_PARAMETER,
        xen=_S.ACCESS_DENIED,
        openvmm=_S.ACCESS_DENIED,
    ),
    _reading(
        "entry_fills_return_registers",
        "Does entering a VTL store the lower one's RAX and RCX where a return restores them from?",
        "TLFS says both that the guest updates the fields and that they hold the value before the"
        " call; a VTL 1 kernel run on real hosts relies on them; OpenVMM writes the reason only",
        hyperv=True,
        kvm=True,
        xen=True,
        openvmm=False,
    ),
    _reading(
        "vina_reset_on_return",
        "Is VinaAsserted with auto-reset cleared when the VTL returns, and not when it is entered?",
        "TLFS vsm: on the next entry; OpenVMM: on return",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    _reading(
        "memory_intercept_gva_valid",
        "Does the message of a memory intercept say that its virtual address is valid?",
        "The headers have a bit for it, OpenVMM sets it; the tests of a fork of KVM want it clear",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=True,
    ),
    _reading(
        "memory_intercept_registers",
        "Do DS, SS and the general registers follow in the message of a memory intercept?",
        "Current headers, OpenVMM: no, it has 80 bytes; the tests of a fork of KVM use the older"
        " form of 240 bytes",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "protected_parameters_intercept",
        "Is a parameter page that a higher VTL protects an intercept, and the call tried again?",
        "TLFS: an intercept, the headers have a bit for it; OpenVMM, KVM: a status",
        hyperv=True,
        kvm=False,
        xen=False,
        openvmm=False,
    ),
    _reading(
        "own_processor_registers",
        "What answers the access to processor registers of the caller's own VTL?",
        "TLFS HvCallGetVpRegisters names no such rule; OpenVMM: 6",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=_S.ACCESS_DENIED,
        none="allowed",
    ),
    _reading(
        "translate_other_partition",
        "What answers HvCallTranslateVirtualAddress for a partition that is not the caller's?",
        "TLFS HvCallTranslateVirtualAddress names no status; OpenVMM: 6; a fork of KVM: 3",
        hyperv=_S.INVALID_PARTITION_ID,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=_S.INVALID_PARTITION_ID,
        openvmm=_S.ACCESS_DENIED,
    ),
    _reading(
        "translate_other_processor",
        "What answers HvCallTranslateVirtualAddress for another virtual processor?",
        "TLFS: the processor is a parameter; OpenVMM: 6; a fork of KVM: 3",
        hyperv=None,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=None,
        openvmm=_S.ACCESS_DENIED,
        none="translated",
    ),
    _reading(
        "translate_higher_vtl",
        "What answers HvCallTranslateVirtualAddress for a VTL above the caller's?",
        "OpenVMM: 6; a fork of KVM: 3",
        hyperv=_S.ACCESS_DENIED,
        kvm=_S.INVALID_HYPERCALL_INPUT,
        xen=_S.ACCESS_DENIED,
        openvmm=_S.ACCESS_DENIED,
    ),
    _reading(
        "translate_own_vtl",
        "What answers HvCallTranslateVirtualAddress for the VTL that the caller runs in?",
        "TLFS names no such rule; a fork of KVM allows it; OpenVMM: 6",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=_S.ACCESS_DENIED,
        none="translated",
    ),
)
"""Every decision."""


@dataclass(frozen=True, slots=True)
class ReadingSet:
    """The decisions of a partition as plain attributes; `READINGS` says what each is about."""

    name: str
    reserved_control_bits: ReservedControlBits
    nested_bit: HvStatus | None
    rep_rules: bool
    flush_list_rep_start: HvStatus | None
    page_crossing: HvStatus | None
    misalignment: HvStatus | None
    overlap: HvStatus | None
    address_outside_gpa_space: HvStatus
    inaccessible_parameters: HvStatus
    inaccessible_messages: HvStatus | None
    real_mode_caller: bool
    disabled_interface: int | None
    page_without_os_id: PageWithoutOsId
    hypercall_page_writable: bool
    assist_page_reserved_bits: bool
    fast_post_message: HvStatus
    fast_unsupported: HvStatus
    fast_extended: HvStatus | None
    fast_xmm_calls: HvStatus | None
    fast_xmm_gate: FastXmmGate
    fast_xmm_32_bit: bool
    fast_output_refused: HvStatus | None
    missing_extended_privilege: HvStatus
    recommendations: Enforcement
    reserved_fields: ReservedFields
    ipi_target_vtl: IpiTargetVtl
    mask_zero_flush: EmptyMask
    empty_set_flush: EmptyMask
    vp_set_format: SetFormat
    vp_set_bank_mismatch: HvStatus | None
    invalid_vector: HvStatus
    empty_set_ipi_before_vector: bool
    ipi_to_higher_vtl: HvStatus | None
    ipi_above_vtl0: HvStatus | None
    non_global_list_flush: HvStatus | None
    flush_address_space: HvStatus | None
    message_payload_too_large: HvStatus
    message_type_checked: bool
    connection_id_mask: int
    post_without_own_synic: HvStatus | None
    message_to_masked_sint: bool
    start_self: HvStatus
    start_running: HvStatus | None
    start_context_checked: bool
    hypercall_msr_reserved_bits: bool
    debugging_unsupported: HvStatus
    debug_calls_need_option: bool
    debug_post_partial: bool
    debug_remaining_count: DebugRemainder
    debug_retrieve_options: bool
    debug_reset_gives_connection: bool
    nested_unsupported: HvStatus
    memory_hint_small_range: HvStatus | None
    async_memory_hint: HvStatus
    partition_vtl_range: HvStatus
    missing_vsm_privilege: HvStatus
    first_vp_vtl_elsewhere: HvStatus | None
    protection_other_partition: HvStatus
    protection_target_vtl: ProtectionTarget
    user_execute_without_mbec: bool
    protection_execute_bits: ExecuteBits
    default_protection_change: HvStatus | None
    vsm_capabilities_mirrored: bool
    new_vtl_apic_enabled: bool
    reference_tsc_in_ram: bool
    start_higher_vtl: HvStatus
    entry_fills_return_registers: bool
    vina_reset_on_return: bool
    memory_intercept_gva_valid: bool
    memory_intercept_registers: bool
    protected_parameters_intercept: bool
    own_processor_registers: HvStatus | None
    translate_other_partition: HvStatus
    translate_other_processor: HvStatus | None
    translate_higher_vtl: HvStatus
    translate_own_vtl: HvStatus | None

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the set of that name.

        Raises:
            InputError: if there is no such set.
        """
        if name not in SET_NAMES:
            raise InputError(f"no reading set is named {name!r}; there are {', '.join(SET_NAMES)}")
        return cls(name=name, **{reading.name: reading.variants[name] for reading in READINGS})

    def changed(self, **decisions: Any) -> Self:
        """Return the set with some decisions taken otherwise.

        Raises:
            TypeError: for a decision that does not exist.
        """
        return replace(self, **decisions)

    def decisions(self) -> dict[str, Any]:
        """Return every decision by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "name"}
