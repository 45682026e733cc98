"""Calls of inter-partition communication: post a message, signal an event."""

from hypercall.calls.registration import serves
from hypercall.partition.synic import MAX_PAYLOAD
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import Call
from hypercall.tlfs.messages import HYPERVISOR_MESSAGE
from hypercall.tlfs.status import HvStatus


@serves(Call.POST_MESSAGE)
def post_message(
    vp: VirtualProcessor, connection_id: int, message_type: int, payload_size: int, payload: bytes
) -> HvStatus:
    """Post a message to the port of a connection; SUCCESS means that it is queued."""
    readings = vp.partition.readings
    if readings.post_without_own_synic is not None and not vp.current.synic.control & 1:
        return readings.post_without_own_synic
    if payload_size > MAX_PAYLOAD:
        return readings.message_payload_too_large
    if readings.message_type_checked and (not message_type or message_type & HYPERVISOR_MESSAGE):
        return HvStatus.INVALID_PARAMETER
    return vp.partition.ports.post_message(
        vp.current,
        connection_id & readings.connection_id_mask,
        message_type,
        bytes(payload[:payload_size]),
    )


@serves(Call.SIGNAL_EVENT)
def signal_event(vp: VirtualProcessor, connection_id: int, flag_number: int) -> HvStatus:
    """Set an event flag of the port of a connection."""
    return vp.partition.ports.signal_event(vp.current, connection_id, flag_number)
