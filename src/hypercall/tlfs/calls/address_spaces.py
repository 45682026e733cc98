"""Calls on virtual address spaces: switch CR3 and flush translations.

Sources: TLFS ``hypercalls/HvCallFlushVirtualAddress*``, TLFS 6.0b pages 81-88.
"""

from hypercall.tlfs.call_flags import FlushFlags, VpSetFormat
from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    StatusCondition,
    VariableHeader,
)
from hypercall.tlfs.layout import Field, FieldKind, Structure
from hypercall.tlfs.privileges import Recommendation
from hypercall.tlfs.status import HvStatus

_ADDRESS_SPACE = Field("address_space", 0, 8, FieldKind.ADDRESS_SPACE, note="CR3")
_FLAGS = Field("flags", 8, 8, FieldKind.FLAGS, FlushFlags)
_MASK_HEADER = Structure(
    "HV_INPUT_FLUSH_VIRTUAL_ADDRESS_SPACE",
    (_ADDRESS_SPACE, _FLAGS, Field("processor_mask", 16, 8, FieldKind.VP_MASK)),
)
_SET_HEADER = Structure(
    "HV_INPUT_FLUSH_VIRTUAL_ADDRESS_SPACE_EX",
    (
        _ADDRESS_SPACE,
        _FLAGS,
        Field("format", 16, 8, FieldKind.VP_SET_FORMAT, VpSetFormat),
        Field("valid_banks_mask", 24, 8, FieldKind.VP_SET_BANKS_MASK),
    ),
)
_BANKS = VariableHeader("banks", FieldKind.VP_SET_BANKS, 64)
_GVA_RANGE = Structure("HV_GVA_RANGE", (Field("gva_range", 0, 8, FieldKind.GVA_RANGE),))

_FLUSH_STATUSES = (
    StatusCondition(HvStatus.SUCCESS, "done", "TLFS"),
    StatusCondition(
        HvStatus.INVALID_PARAMETER,
        "an address space that is no valid CR3 without ALL_VIRTUAL_ADDRESS_SPACES; reserved"
        " flags; no processor at all without ALL_PROCESSORS",
        "TLFS 6.0b p84, p87",
    ),
    StatusCondition(
        HvStatus.ACCESS_DENIED, "the call is not recommended and CPUID is enforced", "KVM"
    ),
)
_SET_STATUSES = (
    *_FLUSH_STATUSES,
    StatusCondition(
        HvStatus.INVALID_PARAMETER,
        "the banks given are not as many as the mask of valid banks says (KVM: 3)",
        "OpenVMM; a report about a real host",
    ),
)

ADDRESS_SPACE_CALLS = (
    CallDeclaration(
        code=0x0001,
        name="HvCallSwitchVirtualAddressSpace",
        family=Family.ADDRESS_SPACES,
        call_class=CallClass.SIMPLE,
        section="TLFS 6.0b p81-82; the web edition names it in its overview only",
        summary="Loads CR3 of the calling processor without flushing its translations.",
        header=Structure(
            "HV_INPUT_SWITCH_VIRTUAL_ADDRESS_SPACE",
            (Field("address_space", 0, 8, FieldKind.ADDRESS_SPACE, note="new CR3"),),
        ),
        recommendation=Recommendation.HYPERCALL_FOR_ADDRESS_SPACE_SWITCH,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "done", "TLFS 6.0b"),
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "the value is no valid CR3, or has reserved bits",
                "TLFS 6.0b p82",
            ),
        ),
    ),
    CallDeclaration(
        code=0x0002,
        name="HvCallFlushVirtualAddressSpace",
        family=Family.ADDRESS_SPACES,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallFlushVirtualAddressSpace",
        summary="Flushes the translations of an address space on a mask of processors.",
        header=_MASK_HEADER,
        recommendation=Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH,
        statuses=_FLUSH_STATUSES,
    ),
    CallDeclaration(
        code=0x0003,
        name="HvCallFlushVirtualAddressList",
        family=Family.ADDRESS_SPACES,
        call_class=CallClass.REP,
        section="TLFS hypercalls/HvCallFlushVirtualAddressList",
        summary="Flushes ranges of an address space on a mask of processors.",
        header=_MASK_HEADER,
        element=_GVA_RANGE,
        recommendation=Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH,
        statuses=_FLUSH_STATUSES,
    ),
    CallDeclaration(
        code=0x0013,
        name="HvCallFlushVirtualAddressSpaceEx",
        family=Family.ADDRESS_SPACES,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallFlushVirtualAddressSpaceEx",
        summary="Flushes the translations of an address space on a set of processors.",
        header=_SET_HEADER,
        variable_header=_BANKS,
        recommendation=Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH
        | Recommendation.EX_PROCESSOR_MASKS,
        statuses=_SET_STATUSES,
    ),
    CallDeclaration(
        code=0x0014,
        name="HvCallFlushVirtualAddressListEx",
        family=Family.ADDRESS_SPACES,
        call_class=CallClass.REP,
        section="TLFS hypercalls/HvCallFlushVirtualAddressListEx",
        summary="Flushes ranges of an address space on a set of processors.",
        header=_SET_HEADER,
        variable_header=_BANKS,
        element=_GVA_RANGE,
        recommendation=Recommendation.HYPERCALL_FOR_REMOTE_TLB_FLUSH
        | Recommendation.EX_PROCESSOR_MASKS,
        statuses=_SET_STATUSES,
    ),
)
