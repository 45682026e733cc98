"""The processor that a call names, and the registers that it is to start with."""

from hypercall.partition.partition import Partition
from hypercall.partition.register_rules import valid_initial_context
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.initial_context import InitialVpContext
from hypercall.tlfs.status import HvStatus


def target_processor(
    vp: VirtualProcessor, partition_id: int, vp_index: int
) -> VirtualProcessor | HvStatus:
    """Return the processor that a call names, or why there is none.

    Args:
        vp: the caller.
        partition_id: the partition, which must be the caller's own.
        vp_index: the VP index, or HV_VP_INDEX_SELF.
    """
    if not vp.partition.is_own_id(partition_id):
        return HvStatus.INVALID_PARTITION_ID
    target = vp.partition.find_vp(vp_index, vp)
    return HvStatus.INVALID_VP_INDEX if target is None else target


def initial_context(
    partition: Partition, fields: tuple[int | bytes, ...]
) -> InitialVpContext | HvStatus:
    """Return the registers with which a processor is to begin in a VTL, or why it cannot.

    Args:
        partition: the partition.
        fields: those of HV_INITIAL_VP_CONTEXT.
    """
    context = InitialVpContext.from_fields(*fields)
    if partition.readings.start_context_checked and not valid_initial_context(
        context, partition.memory.address_bits
    ):
        return HvStatus.INVALID_REGISTER_VALUE
    return context
