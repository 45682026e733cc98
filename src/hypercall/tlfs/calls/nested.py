"""Calls of a nested hypervisor on the second-level address spaces of its guests.

Sources: TLFS ``hypercalls/HvCallFlushGuestPhysicalAddress*``; TLFS 6.0b pages 190-192.
"""

from hypercall.tlfs.declaration import CallClass, CallDeclaration, Family, StatusCondition
from hypercall.tlfs.layout import Field, FieldKind, Structure
from hypercall.tlfs.privileges import NestedFeature
from hypercall.tlfs.status import HvStatus

_HEADER = Structure(
    "HV_INPUT_FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE",
    (
        Field("address_space", 0, 8, FieldKind.ADDRESS_SPACE, note="EPT pointer or nCR3"),
        Field("flags", 8, 8, FieldKind.HEX, note="RsvdZ"),
    ),
)
_FEATURE = NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS | NestedFeature.ENLIGHTENED_NPT_TLB
_STATUSES = (
    StatusCondition(HvStatus.SUCCESS, "done", "TLFS"),
    StatusCondition(HvStatus.INVALID_PARAMETER, "flags, or a bad address space", "TLFS 6.0b p191"),
    StatusCondition(
        HvStatus.INVALID_VP_STATE,
        "the processor does not run a nested hypervisor",
        "TLFS 6.0b p191",
    ),
)

NESTED_CALLS = (
    CallDeclaration(
        code=0x00AF,
        name="HvCallFlushGuestPhysicalAddressSpace",
        family=Family.NESTED,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallFlushGuestPhysicalAddressSpace",
        summary="Flushes the translations of a second-level address space.",
        header=_HEADER,
        nested_feature=_FEATURE,
        statuses=_STATUSES,
    ),
    CallDeclaration(
        code=0x00B0,
        name="HvCallFlushGuestPhysicalAddressList",
        family=Family.NESTED,
        call_class=CallClass.REP,
        section="TLFS hypercalls/HvCallFlushGuestPhysicalAddressList",
        summary="Flushes ranges of a second-level address space.",
        header=_HEADER,
        element=Structure("HV_GPA_PAGE_RANGE", (Field("gpa_range", 0, 8, FieldKind.GPA_RANGE),)),
        nested_feature=_FEATURE,
        statuses=_STATUSES,
        known=(
            "The documentation gives an element 12 bits of additional pages; headers and Linux"
            " have 11 and a large-page bit above them, which is what is implemented."
        ),
    ),
)
