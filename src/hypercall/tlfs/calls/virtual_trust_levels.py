"""Calls of Virtual Secure Mode.

Sources: TLFS ``vsm`` and ``hypercalls/HvCall*Vtl*``; TLFS 6.0b pages 168-175.
"""

from hypercall.tlfs.call_flags import DisableVtlFlags, EnablePartitionVtlFlags, MapGpaFlags
from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    FastForm,
    StatusCondition,
)
from hypercall.tlfs.initial_context import INITIAL_CONTEXT_FIELDS
from hypercall.tlfs.layout import Field, FieldKind, Structure, reserved
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.status import HvStatus

_PARTITION_ID = Field("partition_id", 0, 8, FieldKind.PARTITION_ID)
_VP_INDEX = Field("vp_index", 8, 4, FieldKind.VP_INDEX)
_BAD_PARTITION = StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "TLFS 6.0b")
_THIN = (
    "Name and code are documented, the layout is a header's; meaning and statuses are inferred"
    " from the call that enables. No public hypervisor implements it."
)

VIRTUAL_TRUST_LEVEL_CALLS = (
    CallDeclaration(
        code=0x000C,
        name="HvCallModifyVtlProtectionMask",
        family=Family.VIRTUAL_TRUST_LEVELS,
        call_class=CallClass.REP,
        section="TLFS hypercalls/HvCallModifyVtlProtectionMask",
        summary="Sets what lower VTLs may do with pages.",
        header=Structure(
            "HV_INPUT_MODIFY_VTL_PROTECTION_MASK",
            (
                Field("partition_id", 0, 8, FieldKind.PARTITION_ID),
                Field("map_flags", 8, 4, FieldKind.FLAGS, MapGpaFlags),
                Field("target_vtl", 12, 1, FieldKind.HV_INPUT_VTL),
                reserved(13, 3),
            ),
        ),
        element=Structure(
            "HV_GPA_PAGE_NUMBER", (Field("gpa_page_number", 0, 8, FieldKind.GPA_PAGE),)
        ),
        privilege=Privilege.ACCESS_VSM,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "done", "TLFS"),
            StatusCondition(
                HvStatus.ACCESS_DENIED,
                "a VTL above the caller's; not this partition; protections not enabled",
                "TLFS 6.0b p169, OpenVMM",
            ),
            _BAD_PARTITION,
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "a page that is no RAM; VTL 0; flags that are not defined",
                "OpenVMM",
            ),
            StatusCondition(
                HvStatus.INVALID_VTL_STATE, "the VTL is not enabled", "TLFS 6.0b, OpenVMM"
            ),
            StatusCondition(
                HvStatus.INVALID_REGISTER_VALUE, "a bad combination of flags", "OpenVMM"
            ),
        ),
        known=(
            "Sources disagree on which VTL the call names (reading `protection_target_vtl`). TLFS"
            " 6.0b p169 also lists INVALID_PARTITION_STATE, OPERATION_DENIED, INSUFFICIENT_MEMORY"
            " and HYPERCALL_INTERCEPT, whose conditions a partition without a parent does not meet."
        ),
    ),
    CallDeclaration(
        code=0x000D,
        name="HvCallEnablePartitionVtl",
        family=Family.VIRTUAL_TRUST_LEVELS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallEnablePartitionVtl",
        summary="Enables a VTL for the partition.",
        header=Structure(
            "HV_INPUT_ENABLE_PARTITION_VTL",
            (
                _PARTITION_ID,
                Field("target_vtl", 8, 1, FieldKind.HV_VTL),
                Field("flags", 9, 1, FieldKind.FLAGS, EnablePartitionVtlFlags),
                reserved(10, 6),
            ),
        ),
        privilege=Privilege.ACCESS_VSM,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "enabled", "TLFS"),
            StatusCondition(
                HvStatus.ACCESS_DENIED, "the caller may not launch that VTL", "TLFS 6.0b p171"
            ),
            _BAD_PARTITION,
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "VTL 0 or above the maximum; an unsupported flag",
                "TLFS 6.0b",
            ),
            StatusCondition(
                HvStatus.INSUFFICIENT_MEMORY, "no room for the pages of a VTL", "TLFS 6.0b"
            ),
            StatusCondition(
                HvStatus.INVALID_VTL_STATE, "the VTL is enabled already", "TLFS 6.0b, OpenVMM"
            ),
        ),
        known=(
            "Flag bits 1 and 2 are in headers only. TLFS 6.0b p171 also lists"
            " INVALID_PARTITION_STATE and HYPERCALL_INTERCEPT, whose conditions a partition without"
            " a parent does not meet."
        ),
    ),
    CallDeclaration(
        code=0x000E,
        name="HvCallDisablePartitionVtl",
        family=Family.VIRTUAL_TRUST_LEVELS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/overview, name and code only",
        summary="Disables a VTL of the partition.",
        header=Structure(
            "HV_INPUT_DISABLE_PARTITION_VTL",
            (
                _PARTITION_ID,
                Field("target_vtl", 8, 1, FieldKind.HV_VTL),
                Field("flags", 9, 1, FieldKind.FLAGS, DisableVtlFlags),
                reserved(10, 6),
            ),
        ),
        privilege=Privilege.ACCESS_VSM,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "disabled", "inferred"),
            StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "inferred"),
            StatusCondition(HvStatus.INVALID_PARAMETER, "VTL 0 or above the maximum", "inferred"),
            StatusCondition(HvStatus.ACCESS_DENIED, "the caller's VTL is below it", "inferred"),
            StatusCondition(
                HvStatus.INVALID_VTL_STATE,
                "the VTL is not enabled, or still enabled on a processor",
                "inferred",
            ),
        ),
        known=_THIN,
    ),
    CallDeclaration(
        code=0x000F,
        name="HvCallEnableVpVtl",
        family=Family.VIRTUAL_TRUST_LEVELS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallEnableVpVtl",
        summary="Enables a VTL on a processor with the registers of its first entry.",
        header=Structure(
            "HV_INPUT_ENABLE_VP_VTL",
            (
                _PARTITION_ID,
                _VP_INDEX,
                Field("target_vtl", 12, 1, FieldKind.HV_VTL),
                reserved(13, 3),
                *INITIAL_CONTEXT_FIELDS,
            ),
        ),
        fast=FastForm.NO,
        privilege=Privilege.ACCESS_VSM,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "enabled", "TLFS"),
            StatusCondition(
                HvStatus.ACCESS_DENIED, "the caller's VTL is too low", "TLFS 6.0b p175, OpenVMM"
            ),
            _BAD_PARTITION,
            StatusCondition(HvStatus.INVALID_VP_INDEX, "no such processor", "TLFS 6.0b"),
            StatusCondition(
                HvStatus.INVALID_PARAMETER, "VTL 0 or out of range", "TLFS 6.0b, OpenVMM"
            ),
            StatusCondition(
                HvStatus.INVALID_VTL_STATE,
                "the VTL is not enabled for the partition",
                "TLFS 6.0b, OpenVMM",
            ),
            StatusCondition(
                HvStatus.INVALID_REGISTER_VALUE, "a context that cannot run", "TLFS 6.0b"
            ),
            StatusCondition(
                HvStatus.VTL_ALREADY_ENABLED, "enabled on the processor already", "OpenVMM, Linux"
            ),
        ),
        known=(
            "TLFS 6.0b p175 also lists INVALID_PARTITION_STATE and INVALID_VP_STATE without saying"
            " which states are meant; a processor may run or not."
        ),
    ),
    CallDeclaration(
        code=0x0010,
        name="HvCallDisableVpVtl",
        family=Family.VIRTUAL_TRUST_LEVELS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/overview, name and code only",
        summary="Disables a VTL on a processor.",
        header=Structure(
            "HV_INPUT_DISABLE_VP_VTL",
            (
                _PARTITION_ID,
                _VP_INDEX,
                Field("target_vtl", 12, 1, FieldKind.HV_VTL),
                Field("flags", 13, 1, FieldKind.FLAGS, DisableVtlFlags),
                reserved(14, 2),
            ),
        ),
        privilege=Privilege.ACCESS_VSM,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "disabled", "inferred"),
            StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "inferred"),
            StatusCondition(HvStatus.INVALID_VP_INDEX, "no such processor", "inferred"),
            StatusCondition(HvStatus.INVALID_PARAMETER, "VTL 0", "inferred"),
            StatusCondition(HvStatus.ACCESS_DENIED, "the caller's VTL is too low", "inferred"),
            StatusCondition(
                HvStatus.INVALID_VTL_STATE, "the VTL is not enabled, or is active", "inferred"
            ),
            StatusCondition(HvStatus.INVALID_VP_STATE, "the processor is in that VTL", "inferred"),
        ),
        known=_THIN,
    ),
    CallDeclaration(
        code=0x0011,
        name="HvCallVtlCall",
        family=Family.VIRTUAL_TRUST_LEVELS,
        call_class=CallClass.VTL_SWITCH,
        section="TLFS hypercalls/HvCallVtlCall, vsm",
        summary="Switches to the next higher VTL; a refusal is #UD and never a status.",
        privilege=Privilege.ACCESS_VSM,
    ),
    CallDeclaration(
        code=0x0012,
        name="HvCallVtlReturn",
        family=Family.VIRTUAL_TRUST_LEVELS,
        call_class=CallClass.VTL_SWITCH,
        section="TLFS hypercalls/HvCallVtlReturn, vsm",
        summary="Switches to the next lower VTL; a refusal is #UD and never a status.",
        privilege=Privilege.ACCESS_VSM,
    ),
)
