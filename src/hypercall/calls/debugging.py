"""Calls on the debug channel: post, retrieve, reset."""

import struct

from hypercall.abi.reply import RETRY, Reply, Retry
from hypercall.calls.registration import serves
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.call_flags import PostDebugOptions, ResetDebugOptions, RetrieveDebugOptions
from hypercall.tlfs.calls import Call
from hypercall.tlfs.msrs import DEBUG_OPTION_USE_HYPERCALLS
from hypercall.tlfs.privileges import Feature
from hypercall.tlfs.readings import DebugRemainder, ReservedFields
from hypercall.tlfs.status import HvStatus

MAX_TIMEOUT = 4_000_000
"""The longest wait in units of 100 ns, from the headers; a longer one is cut to it."""

_POSTED = struct.Struct("<II")
_RETRIEVED = struct.Struct("<II")
_CONNECTION = struct.Struct("<IIHH12x")
_PURGES = ResetDebugOptions.PURGE_INCOMING_DATA | ResetDebugOptions.PURGE_OUTGOING_DATA


@serves(Call.POST_DEBUG_DATA)
def post_debug_data(
    vp: VirtualProcessor, count: int, options: int, data: memoryview
) -> Reply | HvStatus:
    """Post bytes to the debugger, all of them or none; a count of 0 only asks what is pending."""
    status = _refusal(vp, options, PostDebugOptions.defined_mask())
    if status:
        return status
    channel = vp.partition.debug_channel
    if vp.partition.readings.debug_post_partial:
        pending = count - channel.post_part(bytes(data))
        status = HvStatus.INSUFFICIENT_BUFFERS if pending else HvStatus.SUCCESS
        return Reply(status, _POSTED.pack(pending, 0))
    if not channel.post(bytes(data)):
        return HvStatus.INSUFFICIENT_BUFFERS
    return Reply(HvStatus.SUCCESS, _POSTED.pack(channel.outgoing_count, 0))


@serves(Call.RETRIEVE_DEBUG_DATA)
def retrieve_debug_data(
    vp: VirtualProcessor, count: int, options: int, timeout: int
) -> Reply | HvStatus | Retry:
    """Take bytes that the debugger sent, after a wait for them if the caller wants one."""
    status = _refusal(vp, options, RetrieveDebugOptions.defined_mask())
    if status:
        return status
    partition = vp.partition
    channel = partition.debug_channel
    readings = partition.readings
    obeyed = options if readings.debug_retrieve_options else 0
    waits = obeyed & RetrieveDebugOptions.LOOP
    if not (waits and partition.debug_waits.waiting(vp)):
        # A wait is one call, however often it is issued: its activity was tested at the start.
        active = channel.take_activity()
        if obeyed & RetrieveDebugOptions.TEST_ACTIVITY and not active:
            return HvStatus.INACTIVE
    if not channel.incoming_count:
        request = (count, options, timeout)
        timeout_ns = min(timeout, MAX_TIMEOUT) * 100
        if waits and partition.debug_waits.go_on(vp, request, timeout_ns):
            return RETRY
        if readings.debug_remaining_count is DebugRemainder.UNFILLED:
            return Reply(HvStatus.NO_DATA, _RETRIEVED.pack(0, count))
        return HvStatus.NO_DATA
    partition.debug_waits.end(vp)
    data = channel.retrieve(count)
    remaining = channel.incoming_count
    if readings.debug_remaining_count is DebugRemainder.UNFILLED:
        remaining = count - len(data)
    return Reply(HvStatus.SUCCESS, _RETRIEVED.pack(len(data), remaining) + data)


@serves(Call.RESET_DEBUG_SESSION)
def reset_debug_session(vp: VirtualProcessor, options: int) -> Reply | HvStatus:
    """Drop what the channel has buffered."""
    status = _refusal(vp, options, ResetDebugOptions.defined_mask())
    if status:
        return status
    channel = vp.partition.debug_channel
    if vp.partition.readings.debug_reset_gives_connection:
        ends = channel.addresses
        return Reply(
            HvStatus.SUCCESS,
            _CONNECTION.pack(ends.host, ends.target, ends.host_port, ends.target_port),
        )
    if not options & _PURGES:
        return HvStatus.INVALID_PARAMETER
    dropped = channel.purge(
        incoming=bool(options & ResetDebugOptions.PURGE_INCOMING_DATA),
        outgoing=bool(options & ResetDebugOptions.PURGE_OUTGOING_DATA),
    )
    return HvStatus.SUCCESS if dropped else HvStatus.NO_DATA


def _refusal(vp: VirtualProcessor, options: int, defined: int) -> HvStatus:
    """Check that the partition can be debugged, and that the options have a meaning."""
    partition = vp.partition
    configuration = partition.configuration
    if not configuration.features & Feature.GUEST_DEBUGGING:
        return partition.readings.debugging_unsupported
    if not configuration.debug_channel_id:
        return HvStatus.OPERATION_DENIED
    if partition.readings.debug_calls_need_option and not DEBUG_OPTION_USE_HYPERCALLS.get(
        partition.debug_registers.options
    ):
        return HvStatus.OPERATION_DENIED
    if options & ~defined and partition.readings.reserved_fields is ReservedFields.REFUSE:
        return HvStatus.INVALID_PARAMETER
    return HvStatus.SUCCESS
