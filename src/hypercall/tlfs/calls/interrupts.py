"""Calls that send or retarget interrupts.

Sources: TLFS ``hypercalls/HvCallSendSyntheticClusterIpi*``, ``HvCallRetargetDeviceInterrupt``,
``datatypes/hv_device_interrupt_target``.
"""

from hypercall.tlfs.call_flags import InterruptSource, InterruptTargetFlags, VpSetFormat
from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    StatusCondition,
    VariableHeader,
)
from hypercall.tlfs.layout import Field, FieldKind, ReservedRule, Structure, reserved
from hypercall.tlfs.privileges import Recommendation
from hypercall.tlfs.status import HvStatus

_IPI_FIELDS = (
    Field("vector", 0, 4, FieldKind.HEX, note="0x10 to 0xFF"),
    Field("target_vtl", 4, 1, FieldKind.HV_INPUT_VTL),
    Field("flags", 5, 1, reserved=ReservedRule.MUST_BE_ZERO),
    reserved(6, 2),
)
_IPI_STATUSES = (
    StatusCondition(HvStatus.SUCCESS, "sent", "TLFS"),
    StatusCondition(
        HvStatus.INVALID_PARAMETER,
        "a vector out of range, or reserved bits (KVM: 3)",
        "TLFS 6.0b p105, OpenVMM, Xen",
    ),
    StatusCondition(
        HvStatus.ACCESS_DENIED,
        "a VTL above the caller's; not recommended and CPUID enforced",
        "OpenVMM, KVM",
    ),
    StatusCondition(HvStatus.INVALID_VTL_STATE, "the VTL is not enabled", "OpenVMM"),
)

INTERRUPT_CALLS = (
    CallDeclaration(
        code=0x000B,
        name="HvCallSendSyntheticClusterIpi",
        aliases=("HVCALL_SEND_IPI",),
        family=Family.INTERRUPTS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallSendSyntheticClusterIpi",
        summary="Sends a fixed interrupt to a mask of processors.",
        header=Structure(
            "HV_INPUT_SEND_SYNTHETIC_CLUSTER_IPI",
            (*_IPI_FIELDS, Field("processor_mask", 8, 8, FieldKind.VP_MASK)),
        ),
        recommendation=Recommendation.SYNTHETIC_CLUSTER_IPI,
        statuses=_IPI_STATUSES,
    ),
    CallDeclaration(
        code=0x0015,
        name="HvCallSendSyntheticClusterIpiEx",
        aliases=("HVCALL_SEND_IPI_EX",),
        family=Family.INTERRUPTS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallSendSyntheticClusterIpiEx",
        summary="Sends a fixed interrupt to a set of processors.",
        header=Structure(
            "HV_INPUT_SEND_SYNTHETIC_CLUSTER_IPI_EX",
            (
                *_IPI_FIELDS,
                Field("format", 8, 8, FieldKind.VP_SET_FORMAT, VpSetFormat),
                Field("valid_banks_mask", 16, 8, FieldKind.VP_SET_BANKS_MASK),
            ),
        ),
        variable_header=VariableHeader("banks", FieldKind.VP_SET_BANKS, 64),
        recommendation=Recommendation.SYNTHETIC_CLUSTER_IPI | Recommendation.EX_PROCESSOR_MASKS,
        statuses=(
            *_IPI_STATUSES,
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "an unknown set format, or not as many banks as the mask says (KVM: 3)",
                "OpenVMM, Xen",
            ),
        ),
    ),
    CallDeclaration(
        code=0x007E,
        name="HvCallRetargetDeviceInterrupt",
        aliases=("HVCALL_RETARGET_INTERRUPT",),
        family=Family.INTERRUPTS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallRetargetDeviceInterrupt",
        summary="Moves the interrupt of a device to another vector and other processors.",
        header=Structure(
            "HV_INPUT_RETARGET_DEVICE_INTERRUPT",
            (
                Field("partition_id", 0, 8, FieldKind.PARTITION_ID),
                Field("device_id", 8, 8, FieldKind.HEX),
                Field("interrupt_source", 16, 4, FieldKind.ENUMERATION, InterruptSource),
                reserved(20, 4, ReservedRule.IGNORED),
                Field("message_address", 24, 4, FieldKind.HEX),
                Field("message_data", 28, 4, FieldKind.HEX),
                reserved(32, 8),
                Field("vector", 40, 4, FieldKind.HEX),
                Field("target_flags", 44, 4, FieldKind.FLAGS, InterruptTargetFlags),
                Field(
                    "processor_mask_or_format",
                    48,
                    8,
                    FieldKind.HEX,
                    note="a mask of processors, or the format of the set that follows",
                ),
            ),
        ),
        variable_header=VariableHeader("valid_banks_mask_and_banks", FieldKind.VP_SET_BANKS, 65),
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "retargeted", "TLFS"),
            StatusCondition(HvStatus.INVALID_PARTITION_ID, "not this partition", "inferred"),
            StatusCondition(HvStatus.INVALID_DEVICE_ID, "no such device", "OpenVMM"),
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "an interrupt that is no message or not the device's, reserved flags, a bad vector,"
                " set or processor",
                "OpenVMM",
            ),
        ),
        known=(
            "The documentation gives the layout and no statuses. The variable header is as Linux"
            " sends it: with a processor set, it counts the mask of valid banks and the banks,"
            " while the format stays in the fixed part."
        ),
    ),
)
