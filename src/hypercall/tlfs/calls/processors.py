"""Calls on virtual processors: spinning, starting, identity and registers.

Sources: TLFS ``hypercalls/HvCallNotifyLongSpinWait``, ``HvCallStartVirtualProcessor``,
``HvCallGetVpIndexFromApicId``, ``HvCallGetVpRegisters``, ``HvCallSetVpRegisters``; TLFS 6.0b
pages 65-70.
"""

from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    FastForm,
    StatusCondition,
)
from hypercall.tlfs.initial_context import INITIAL_CONTEXT_FIELDS
from hypercall.tlfs.layout import Field, FieldKind, ReservedRule, Structure, reserved
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.status import HvStatus

_REGISTERS_HEADER = (
    Field("partition_id", 0, 8, FieldKind.PARTITION_ID),
    Field("vp_index", 8, 4, FieldKind.VP_INDEX),
    Field("input_vtl", 12, 1, FieldKind.HV_INPUT_VTL),
    reserved(13, 3),
)
_REGISTER_STATUSES = (
    StatusCondition(HvStatus.SUCCESS, "done", "TLFS"),
    StatusCondition(
        HvStatus.ACCESS_DENIED,
        "no AccessVpRegisters; a VTL above the caller's; a register the caller may not use",
        "TLFS",
    ),
    StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "OpenVMM"),
    StatusCondition(HvStatus.INVALID_VP_INDEX, "no such processor", "OpenVMM"),
    StatusCondition(
        HvStatus.INVALID_PARAMETER, "an unknown register name, or a VTL out of range", "OpenVMM"
    ),
    StatusCondition(HvStatus.INVALID_VTL_STATE, "the VTL is not enabled", "OpenVMM"),
)

PROCESSOR_CALLS = (
    CallDeclaration(
        code=0x0008,
        name="HvCallNotifyLongSpinWait",
        family=Family.PROCESSORS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallNotifyLongSpinWait",
        summary="Tells that the caller has been spinning, so that it may yield its turn.",
        header=Structure(
            "HV_INPUT_NOTIFY_LONG_SPIN_WAIT",
            (Field("spin_count", 0, 4), reserved(4, 4, ReservedRule.IGNORED)),
        ),
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "always", "TLFS"),
            StatusCondition(
                HvStatus.ACCESS_DENIED,
                "the retry count of CPUID is 0 or all ones and CPUID is enforced",
                "KVM",
            ),
        ),
    ),
    CallDeclaration(
        code=0x0050,
        name="HvCallGetVpRegisters",
        family=Family.PROCESSORS,
        call_class=CallClass.REP,
        section="TLFS hypercalls/HvCallGetVpRegisters",
        summary="Reads registers of a virtual processor.",
        header=Structure("HV_INPUT_GET_VP_REGISTERS", _REGISTERS_HEADER),
        element=Structure(
            "HV_REGISTER_NAME", (Field("register_name", 0, 4, FieldKind.REGISTER_NAME),)
        ),
        output_element=Structure(
            "HV_REGISTER_VALUE", (Field("register_value", 0, 16, FieldKind.REGISTER_VALUE),)
        ),
        privilege=Privilege.ACCESS_VP_REGISTERS,
        statuses=_REGISTER_STATUSES,
    ),
    CallDeclaration(
        code=0x0051,
        name="HvCallSetVpRegisters",
        family=Family.PROCESSORS,
        call_class=CallClass.REP,
        section="TLFS hypercalls/HvCallSetVpRegisters",
        summary="Writes registers of a virtual processor.",
        header=Structure("HV_INPUT_SET_VP_REGISTERS", _REGISTERS_HEADER),
        element=Structure(
            "HV_REGISTER_ASSOC",
            (
                Field("register_name", 0, 4, FieldKind.REGISTER_NAME),
                reserved(4, 12),
                Field("register_value", 16, 16, FieldKind.REGISTER_VALUE),
            ),
        ),
        privilege=Privilege.ACCESS_VP_REGISTERS,
        statuses=(
            *_REGISTER_STATUSES,
            StatusCondition(
                HvStatus.INVALID_REGISTER_VALUE, "a value that the register cannot have", "TLFS"
            ),
        ),
    ),
    CallDeclaration(
        code=0x0099,
        name="HvCallStartVirtualProcessor",
        family=Family.PROCESSORS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallStartVirtualProcessor",
        summary="Starts a virtual processor in a VTL with the given registers.",
        header=Structure(
            "HV_INPUT_START_VIRTUAL_PROCESSOR",
            (
                Field("partition_id", 0, 8, FieldKind.PARTITION_ID),
                Field("vp_index", 8, 4, FieldKind.VP_INDEX),
                Field("target_vtl", 12, 1, FieldKind.HV_VTL),
                reserved(13, 3),
                *INITIAL_CONTEXT_FIELDS,
            ),
        ),
        fast=FastForm.NO,
        privilege=Privilege.START_VIRTUAL_PROCESSOR,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "started", "TLFS"),
            StatusCondition(
                HvStatus.ACCESS_DENIED,
                "a VTL above the caller's; a higher VTL denies the start of lower ones",
                "TLFS, OpenVMM",
            ),
            StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "TLFS"),
            StatusCondition(
                HvStatus.INVALID_VP_INDEX, "no such processor, or the caller itself", "OpenVMM"
            ),
            StatusCondition(
                HvStatus.INVALID_PARAMETER, "a VTL out of range; reserved bytes", "OpenVMM"
            ),
            StatusCondition(HvStatus.INVALID_REGISTER_VALUE, "a context that cannot run", "TLFS"),
            StatusCondition(
                HvStatus.INVALID_VP_STATE,
                "the VTL is not enabled on the processor, or it runs already",
                "TLFS, OpenVMM",
            ),
            StatusCondition(
                HvStatus.INVALID_VTL_STATE, "the VTL is not enabled for the partition", "TLFS"
            ),
        ),
        known=(
            "TLFS also lists INVALID_PARTITION_STATE, and Linux tries again on TIMEOUT, which a"
            " real host may answer; neither can arise here."
        ),
    ),
    CallDeclaration(
        code=0x009A,
        name="HvCallGetVpIndexFromApicId",
        family=Family.PROCESSORS,
        call_class=CallClass.REP,
        section="TLFS hypercalls/HvCallGetVpIndexFromApicId",
        summary="Gives the VP index of each APIC id.",
        header=Structure(
            "HV_INPUT_GET_VP_INDEX_FROM_APIC_ID",
            (
                Field("partition_id", 0, 8, FieldKind.PARTITION_ID),
                Field("target_vtl", 8, 1, FieldKind.HV_VTL),
                reserved(9, 7, ReservedRule.IGNORED),
            ),
        ),
        element=Structure("HV_APIC_ID", (Field("apic_id", 0, 4, FieldKind.APIC_ID),)),
        output_element=Structure("HV_VP_INDEX", (Field("vp_index", 0, 4, FieldKind.VP_INDEX),)),
        privilege=Privilege.START_VIRTUAL_PROCESSOR,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "done", "TLFS"),
            StatusCondition(HvStatus.ACCESS_DENIED, "a VTL above the caller's", "OpenVMM"),
            StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "TLFS 6.0b p70"),
            StatusCondition(
                HvStatus.INVALID_PARAMETER, "no processor has that APIC id", "TLFS, OpenVMM"
            ),
            StatusCondition(HvStatus.INVALID_VTL_STATE, "the VTL is not enabled", "TLFS 6.0b p70"),
        ),
        known=(
            "The documentation shows elements of 8 bytes with 4 of padding, in and out; OpenVMM,"
            " Linux and the headers pack 4 bytes. The two agree for a single element. Which"
            " privilege gates the call is not written down: StartVirtualProcessor is inferred."
        ),
    ),
)
