"""Second-level address spaces."""

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus

NESTED_READINGS = (
    reading(
        "nested_unsupported",
        "What answers a flush of a second-level space where nothing can be nested?",
        "TLFS 6.0b p191: 21; KVM, Xen, OpenVMM do not implement the calls: 2",
        hyperv=HvStatus.INVALID_VP_STATE,
        kvm=HvStatus.INVALID_HYPERCALL_CODE,
        xen=HvStatus.INVALID_HYPERCALL_CODE,
        openvmm=HvStatus.INVALID_HYPERCALL_CODE,
    ),
)
