"""The hypercall page and the VP assist page, and the MSRs that place them."""

from enum import Enum

from hypercall.tlfs.readings.reading import reading


class PageWithoutOsId(Enum):
    """What becomes of the hypercall page while GUEST_OS_ID is zero."""

    DISABLED = "the enable bit stays 0, and zeroing the id disables the page"
    WRITE_DROPPED = "writes of HYPERCALL are dropped, and zeroing the id disables the page"
    ENABLED = "it can be enabled, and zeroing the id does not disable it"


OVERLAY_PAGE_READINGS = (
    reading(
        "page_without_os_id",
        "What becomes of the hypercall page while GUEST_OS_ID is zero?",
        "TLFS hypercall-interface; KVM hyperv.c; Xen viridian.c only logs it; OpenVMM"
        " hv1_emulator does not check",
        hyperv=PageWithoutOsId.DISABLED,
        kvm=PageWithoutOsId.WRITE_DROPPED,
        xen=PageWithoutOsId.ENABLED,
        openvmm=PageWithoutOsId.ENABLED,
    ),
    reading(
        "hypercall_page_writable",
        "Can the guest write into the hypercall page?",
        "TLFS hypercall-interface, OpenVMM: #GP; KVM and Xen put the code into the guest's own RAM",
        hyperv=False,
        kvm=True,
        xen=True,
        openvmm=False,
    ),
    reading(
        "hypercall_msr_reserved_bits",
        "Is a write of HYPERCALL with bits 11:2 set #GP?",
        "TLFS: preserved; OpenVMM: #GP",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
    reading(
        "assist_page_reserved_bits",
        "Is a write of VP_ASSIST_PAGE with bits 11:1 set #GP?",
        "TLFS: preserved; OpenVMM: #GP",
        hyperv=False,
        kvm=False,
        xen=False,
        openvmm=True,
    ),
)
