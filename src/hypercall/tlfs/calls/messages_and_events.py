"""Calls of inter-partition communication: post a message, signal an event.

Sources: TLFS ``hypercalls/HvCallPostMessage``, ``hypercalls/HvCallSignalEvent``.
"""

from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    FastForm,
    StatusCondition,
)
from hypercall.tlfs.layout import Field, FieldKind, ReservedRule, Structure, reserved
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.status import HvStatus

_PORT_STATUSES = (
    StatusCondition(HvStatus.INVALID_CONNECTION_ID, "no such connection", "TLFS"),
    StatusCondition(
        HvStatus.INVALID_PORT_ID,
        "the port is deleted, of another type, or its partition is not active",
        "TLFS",
    ),
    StatusCondition(HvStatus.INVALID_VP_INDEX, "the target processor is gone", "TLFS"),
)

MESSAGE_AND_EVENT_CALLS = (
    CallDeclaration(
        code=0x005C,
        name="HvCallPostMessage",
        family=Family.MESSAGES_AND_EVENTS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallPostMessage",
        summary="Posts a message of up to 240 bytes to the port of a connection.",
        header=Structure(
            "HV_INPUT_POST_MESSAGE",
            (
                Field("connection_id", 0, 4, FieldKind.CONNECTION_ID),
                reserved(4, 4, ReservedRule.IGNORED),
                Field("message_type", 8, 4, FieldKind.MESSAGE_TYPE, note="1 to 0x7FFFFFFF"),
                Field("payload_size", 12, 4, note="at most 240"),
                Field("payload", 16, 240, FieldKind.BYTES),
            ),
        ),
        fast=FastForm.NO,
        privilege=Privilege.POST_MESSAGES,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "queued", "TLFS"),
            StatusCondition(HvStatus.ACCESS_DENIED, "no PostMessages privilege", "TLFS"),
            *_PORT_STATUSES,
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "message type 0 or with bit 31; a payload above 240 bytes",
                "TLFS",
            ),
            StatusCondition(
                HvStatus.INSUFFICIENT_BUFFERS, "the port has no free message buffer", "TLFS"
            ),
            StatusCondition(
                HvStatus.INVALID_SYNIC_STATE,
                "the target's SynIC or message page is disabled",
                "TLFS",
            ),
            StatusCondition(
                HvStatus.OPERATION_DENIED, "the caller's VTL is below the connection's", "OpenVMM"
            ),
        ),
    ),
    CallDeclaration(
        code=0x005D,
        name="HvCallSignalEvent",
        family=Family.MESSAGES_AND_EVENTS,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvCallSignalEvent",
        summary="Sets an event flag of the port of a connection.",
        header=Structure(
            "HV_INPUT_SIGNAL_EVENT",
            (
                Field("connection_id", 0, 4, FieldKind.CONNECTION_ID),
                Field("flag_number", 4, 2),
                reserved(6, 2),
            ),
        ),
        privilege=Privilege.SIGNAL_EVENTS,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "set, or set already", "TLFS"),
            StatusCondition(HvStatus.ACCESS_DENIED, "no SignalEvents privilege", "TLFS"),
            *_PORT_STATUSES,
            StatusCondition(
                HvStatus.INVALID_PARAMETER, "the flag is not one of the port's", "TLFS"
            ),
            StatusCondition(
                HvStatus.INVALID_SYNIC_STATE,
                "the target's SynIC or event page is disabled, or its SINT masked",
                "TLFS",
            ),
            StatusCondition(
                HvStatus.OPERATION_DENIED, "the caller's VTL is below the connection's", "OpenVMM"
            ),
        ),
    ),
)
