"""Calls of the hypervisor's debug channel.

Sources: TLFS 2.0a pages 199-203, which alone describes them; QEMU ``hw/hyperv`` and KVM.
"""

from hypercall.tlfs.call_flags import PostDebugOptions, ResetDebugOptions, RetrieveDebugOptions
from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    FastForm,
    StatusCondition,
    VariableData,
)
from hypercall.tlfs.layout import Field, FieldKind, ReservedRule, Structure, reserved
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.status import HvStatus

_MAX_DATA = 4088
_COUNT = Field("count", 0, 4, note=f"at most {_MAX_DATA}")
_STATUSES = (
    StatusCondition(
        HvStatus.FEATURE_UNAVAILABLE, "the hypervisor has no debugging support", "TLFS 2.0a"
    ),
    StatusCondition(HvStatus.ACCESS_DENIED, "no Debugging privilege", "TLFS 2.0a"),
    StatusCondition(
        HvStatus.OPERATION_DENIED,
        "the partition has no debug channel (KVM: the option to use calls is off)",
        "TLFS 2.0a, KVM",
    ),
)
_KNOWN = "Described in TLFS 2.0a only; later editions keep the code and the privilege."

DEBUGGING_CALLS = (
    CallDeclaration(
        code=0x0069,
        name="HvPostDebugData",
        family=Family.DEBUGGING,
        call_class=CallClass.SIMPLE,
        section="TLFS 2.0a p199-200",
        summary="Hands bytes to the debugger.",
        header=Structure(
            "HV_INPUT_POST_DEBUG_DATA",
            (_COUNT, Field("options", 4, 4, FieldKind.FLAGS, PostDebugOptions)),
        ),
        variable_input=VariableData("data", "count", _MAX_DATA),
        output=Structure(
            "HV_OUTPUT_POST_DEBUG_DATA",
            (Field("pending_count", 0, 4), reserved(4, 4, ReservedRule.IGNORED)),
        ),
        fast=FastForm.NO,
        privilege=Privilege.DEBUGGING,
        statuses=(
            StatusCondition(
                HvStatus.SUCCESS, "queued, or the pending count asked for", "TLFS 2.0a"
            ),
            *_STATUSES,
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "a count above 4088, data across a page, an unknown option",
                "TLFS 2.0a",
            ),
            StatusCondition(
                HvStatus.INSUFFICIENT_BUFFERS, "no room; nothing is taken", "TLFS 2.0a"
            ),
        ),
        known=_KNOWN,
    ),
    CallDeclaration(
        code=0x006A,
        name="HvRetrieveDebugData",
        family=Family.DEBUGGING,
        call_class=CallClass.SIMPLE,
        section="TLFS 2.0a p201-202",
        summary="Takes bytes that the debugger sent.",
        header=Structure(
            "HV_INPUT_RETRIEVE_DEBUG_DATA",
            (
                _COUNT,
                Field("options", 4, 4, FieldKind.FLAGS, RetrieveDebugOptions),
                Field("timeout", 8, 8, FieldKind.DURATION, note="units of 100 ns"),
            ),
        ),
        output=Structure(
            "HV_OUTPUT_RETRIEVE_DEBUG_DATA",
            (Field("retrieved_count", 0, 4), Field("remaining_count", 4, 4)),
        ),
        variable_output=VariableData("data", "retrieved_count", _MAX_DATA, limit_field="count"),
        fast=FastForm.NO,
        privilege=Privilege.DEBUGGING,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "data given, or count 0 and data there", "TLFS 2.0a"),
            *_STATUSES,
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "a count above 4088, data across a page, an unknown option",
                "TLFS 2.0a",
            ),
            StatusCondition(HvStatus.INACTIVE, "TEST_ACTIVITY and nothing arrived", "TLFS 2.0a"),
            StatusCondition(HvStatus.NO_DATA, "nothing is pending", "TLFS 2.0a"),
        ),
        known=_KNOWN,
    ),
    CallDeclaration(
        code=0x006B,
        name="HvResetDebugSession",
        family=Family.DEBUGGING,
        call_class=CallClass.SIMPLE,
        section="TLFS 2.0a p202-203",
        summary="Drops what the debug channel has buffered.",
        header=Structure(
            "HV_INPUT_RESET_DEBUG_SESSION",
            (
                Field("options", 0, 4, FieldKind.FLAGS, ResetDebugOptions),
                reserved(4, 4, ReservedRule.IGNORED),
            ),
        ),
        privilege=Privilege.DEBUGGING,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "something was dropped", "TLFS 2.0a"),
            *_STATUSES,
            StatusCondition(
                HvStatus.INVALID_PARAMETER, "an unknown option, or neither purge", "TLFS 2.0a"
            ),
            StatusCondition(HvStatus.NO_DATA, "nothing to drop", "TLFS 2.0a"),
        ),
        known=_KNOWN
        + " Newer headers return the connection's data at the output address; QEMU writes 24 bytes"
        " there, headers have longer addresses. TLFS 2.0a has no output, and neither has this.",
    ),
)
