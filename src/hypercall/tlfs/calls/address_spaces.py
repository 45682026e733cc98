"""Calls on virtual address spaces: switch CR3, flush translations, translate an address.

Sources: TLFS ``hypercalls/HvCallFlushVirtualAddress*``, TLFS 6.0b pages 81-88; TLFS
``hypercalls/HvCallTranslateVirtualAddress``, ``datatypes/hv_translate_gva_control_flags``,
``datatypes/hv_translate_gva_result``.
"""

from hypercall.tlfs.call_flags import (
    CacheType,
    FlushFlags,
    TranslateGvaFlags,
    TranslateGvaResultCode,
    VpSetFormat,
)
from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    StatusCondition,
    VariableHeader,
)
from hypercall.tlfs.layout import Field, FieldKind, ReservedRule, Structure, reserved
from hypercall.tlfs.privileges import Privilege, Recommendation
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
    CallDeclaration(
        code=0x0052,
        name="HvCallTranslateVirtualAddress",
        family=Family.ADDRESS_SPACES,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallTranslateVirtualAddress",
        summary="Translates a virtual address by the page tables of a processor and VTL.",
        header=Structure(
            "HV_INPUT_TRANSLATE_VIRTUAL_ADDRESS",
            (
                Field("partition_id", 0, 8, FieldKind.PARTITION_ID),
                Field("vp_index", 8, 4, FieldKind.VP_INDEX),
                reserved(12, 4, ReservedRule.IGNORED),
                Field("control_flags", 16, 4, FieldKind.FLAGS, TranslateGvaFlags),
                reserved(20, 3),
                Field("input_vtl", 23, 1, FieldKind.HV_INPUT_VTL),
                Field("gva_page", 24, 8, FieldKind.GVA_PAGE),
            ),
        ),
        output=Structure(
            "HV_OUTPUT_TRANSLATE_VIRTUAL_ADDRESS",
            (
                Field("result_code", 0, 4, FieldKind.ENUMERATION, TranslateGvaResultCode),
                Field("cache_type", 4, 1, FieldKind.ENUMERATION, CacheType),
                Field("overlay_page", 5, 1, note="bit 0: an overlay page lies there"),
                reserved(6, 2),
                Field("gpa_page", 8, 8, FieldKind.GPA_PAGE, note="0 unless the code is SUCCESS"),
            ),
        ),
        privilege=Privilege.ACCESS_VSM,
        in_reference_table=False,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "the output says what came of it", "TLFS"),
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "undefined flags, or some that CPUID does not offer; a VTL out of range; a page"
                " number beyond 64-bit addresses; TLB_FLUSH_INHIBIT that locks nothing",
                "OpenVMM, inferred",
            ),
            StatusCondition(
                HvStatus.ACCESS_DENIED, "no AccessVsm; a VTL above the caller's", "OpenVMM"
            ),
            StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "inferred"),
            StatusCondition(HvStatus.INVALID_VP_INDEX, "no such processor", "inferred"),
            StatusCondition(
                HvStatus.INVALID_VTL_STATE,
                "the VTL is not enabled for the partition or on the processor",
                "inferred",
            ),
        ),
    ),
)
