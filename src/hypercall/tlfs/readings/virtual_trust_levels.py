"""Virtual trust levels: how they are enabled, entered, protected and told of intercepts."""

from enum import Enum

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus


class ProtectionTarget(Enum):
    """Which VTL HvCallModifyVtlProtectionMask names."""

    SETTER = "the one whose protection it is, and which it does not bind; VTL 0 is refused with 5"
    RESTRICTED = "the one that is restricted, by the caller's VTL"


class ExecuteBits(Enum):
    """Which bits of a VTL's protections are about execution."""

    KERNEL_FIRST = "bit 2 the kernel's, bit 3 the users'"
    USER_FIRST = "bit 2 the users', bit 3 the kernel's, or everybody's without MBEC"


VIRTUAL_TRUST_LEVEL_READINGS = (
    reading(
        "partition_vtl_range",
        "What answers HvCallEnablePartitionVtl for VTL 0 or a VTL above the maximum?",
        "TLFS 6.0b p171, a fork of KVM and its tests: 5; OpenVMM: 6",
        hyperv=HvStatus.INVALID_PARAMETER,
        kvm=HvStatus.INVALID_PARAMETER,
        xen=HvStatus.INVALID_PARAMETER,
        openvmm=HvStatus.ACCESS_DENIED,
    ),
    reading(
        "missing_vsm_privilege",
        "What answers a call without AccessVsm, AccessVpRegisters or StartVirtualProcessor?",
        "TLFS status tables: 6; a fork of KVM: 2; Xen has none of the calls",
        hyperv=HvStatus.ACCESS_DENIED,
        kvm=HvStatus.INVALID_HYPERCALL_CODE,
        xen=HvStatus.INVALID_HYPERCALL_CODE,
        openvmm=HvStatus.ACCESS_DENIED,
    ),
    reading(
        "first_vp_vtl_elsewhere",
        "What answers a VTL that enables a higher one first on another processor?",
        "TLFS HvCallEnableVpVtl names no such rule; OpenVMM: 6",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=HvStatus.ACCESS_DENIED,
        none="allowed",
    ),
    reading(
        "protection_other_partition",
        "What answers HvCallModifyVtlProtectionMask for a partition that is not the caller's?",
        "TLFS 6.0b p169: 13; OpenVMM: 6",
        hyperv=HvStatus.INVALID_PARTITION_ID,
        kvm=HvStatus.INVALID_PARTITION_ID,
        xen=HvStatus.INVALID_PARTITION_ID,
        openvmm=HvStatus.ACCESS_DENIED,
    ),
    reading(
        "protection_target_vtl",
        "Which VTL does HvCallModifyVtlProtectionMask name?",
        "OpenVMM, Linux and a VTL 1 kernel run on real hosts: the one whose protection it is; a"
        " fork of KVM and its tests: the one that is restricted",
        hyperv=ProtectionTarget.SETTER,
        kvm=ProtectionTarget.RESTRICTED,
        xen=ProtectionTarget.SETTER,
        openvmm=ProtectionTarget.SETTER,
    ),
    reading(
        "user_execute_without_mbec",
        "Is execution by users, but not by the kernel, refused where there is no MBEC?",
        "TLFS vsm: the bit for users is ignored; OpenVMM: refused",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    reading(
        "protection_execute_bits",
        "Which bits of a VTL's protections are about execution?",
        "TLFS web and headers, OpenVMM: kernel before users; TLFS 5.0 and 6.0b, the tests of a"
        " fork of KVM: users before the kernel",
        hyperv=ExecuteBits.KERNEL_FIRST,
        kvm=ExecuteBits.USER_FIRST,
        xen=ExecuteBits.KERNEL_FIRST,
        openvmm=ExecuteBits.KERNEL_FIRST,
    ),
    reading(
        "default_protection_change",
        "What answers a change of the default protections once VTL protection is enabled?",
        "TLFS vsm: they cannot be changed; OpenVMM: 80; the tests of a fork of KVM: success, and"
        " they stay as they are",
        hyperv=HvStatus.INVALID_REGISTER_VALUE,
        kvm=None,
        xen=HvStatus.INVALID_REGISTER_VALUE,
        openvmm=HvStatus.INVALID_REGISTER_VALUE,
        none="taken, without an effect",
    ),
    reading(
        "vsm_capabilities_mirrored",
        "Are the bits of VsmCapabilities counted from the top?",
        "Headers, OpenVMM: from bit 0; the table of TLFS vsm is mirrored, and the tests of a fork"
        " of KVM follow it",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    reading(
        "new_vtl_apic_enabled",
        "Does the APIC of a VTL that is just enabled accept interrupts?",
        "OpenVMM: it is as after a reset, disabled in its SVR; the tests of a fork of KVM send it"
        " interrupts without enabling it",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    reading(
        "reference_tsc_in_ram",
        "Is the reference TSC page written into the page beneath, which other VTLs see too?",
        "TLFS: it is an overlay, and the VTL's own; KVM hyperv.c: written to memory, and the tests"
        " of a fork of it read both pages from one VTL",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    reading(
        "start_higher_vtl",
        "What answers HvCallStartVirtualProcessor for a VTL above the caller's?",
        "TLFS, OpenVMM: 6; a fork of KVM: 5",
        hyperv=HvStatus.ACCESS_DENIED,
        kvm=HvStatus.INVALID_PARAMETER,
        xen=HvStatus.ACCESS_DENIED,
        openvmm=HvStatus.ACCESS_DENIED,
    ),
    reading(
        "entry_fills_return_registers",
        "Does entering a VTL store the lower one's RAX and RCX where a return restores them from?",
        "TLFS says both that the guest updates the fields and that they hold the value before the"
        " call; a VTL 1 kernel run on real hosts relies on them; OpenVMM writes the reason only",
        hyperv=True,
        kvm=True,
        xen=True,
        openvmm=False,
    ),
    reading(
        "vina_reset_on_return",
        "Is VinaAsserted with auto-reset cleared when the VTL returns, and not when it is entered?",
        "TLFS vsm: on the next entry; OpenVMM: on return",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    reading(
        "memory_intercept_gva_valid",
        "Does the message of a memory intercept say that its virtual address is valid?",
        "The headers have a bit for it, OpenVMM sets it; the tests of a fork of KVM want it clear",
        hyperv=True,
        kvm=False,
        xen=True,
        openvmm=True,
    ),
    reading(
        "memory_intercept_registers",
        "Do DS, SS and the general registers follow in the message of a memory intercept?",
        "Current headers, OpenVMM: no, it has 80 bytes; the tests of a fork of KVM use the older"
        " form of 240 bytes",
        hyperv=False,
        kvm=True,
        xen=False,
        openvmm=False,
    ),
    reading(
        "protected_parameters_intercept",
        "Is a parameter page that a higher VTL protects an intercept, and the call tried again?",
        "TLFS: an intercept, the headers have a bit for it; OpenVMM, KVM: a status",
        hyperv=True,
        kvm=False,
        xen=False,
        openvmm=False,
    ),
)
