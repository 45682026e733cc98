"""Calls that read and write registers of virtual processors."""

import struct

from hypercall.abi.reply import RepReply
from hypercall.calls.registration import serves
from hypercall.calls.target_processor import target_processor
from hypercall.calls.target_vtl import input_vtl_status
from hypercall.partition.register_access import RegisterAccessError, RegisterWait
from hypercall.partition.registers import PROCESSOR_REGISTERS
from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl
from hypercall.tlfs.calls import Call
from hypercall.tlfs.readings import ReservedFields
from hypercall.tlfs.registers import REGISTER_VALUE_SIZE
from hypercall.tlfs.status import HvStatus

_ASSOCIATION = struct.Struct("<IIQ16s")
"""HV_REGISTER_ASSOC: name, 12 reserved bytes, value."""


@serves(Call.GET_VP_REGISTERS)
def get_vp_registers(
    vp: VirtualProcessor, partition_id: int, vp_index: int, input_vtl: int, elements: memoryview
) -> RepReply | HvStatus:
    """Read registers, each as an HV_REGISTER_VALUE of 16 bytes."""
    target = _target(vp, partition_id, vp_index, input_vtl)
    if isinstance(target, HvStatus):
        return target
    registers = vp.partition.registers
    output = bytearray()
    completed = 0
    own_refused = vp.partition.readings.own_processor_registers
    for name in struct.unpack(f"<{len(elements) // 4}I", elements):
        if own_refused is not None and _is_own(vp, target, name):
            return RepReply(completed, own_refused, bytes(output))
        try:
            value = registers.read(target, name)
        except RegisterAccessError as error:
            return RepReply(completed, error.status, bytes(output))
        output += value.to_bytes(REGISTER_VALUE_SIZE, "little")
        completed += 1
    return RepReply(completed, HvStatus.SUCCESS, bytes(output))


@serves(Call.SET_VP_REGISTERS)
def set_vp_registers(
    vp: VirtualProcessor, partition_id: int, vp_index: int, input_vtl: int, elements: memoryview
) -> RepReply | HvStatus:
    """Write registers in the order given; those before a refused one stay written."""
    target = _target(vp, partition_id, vp_index, input_vtl)
    if isinstance(target, HvStatus):
        return target
    registers = vp.partition.registers
    refuse_reserved = vp.partition.readings.reserved_fields is ReservedFields.REFUSE
    completed = 0
    own_refused = vp.partition.readings.own_processor_registers
    for name, *reserved, value in _ASSOCIATION.iter_unpack(elements):
        if own_refused is not None and _is_own(vp, target, name):
            return RepReply(completed, own_refused)
        if refuse_reserved and any(reserved):
            return RepReply(completed, HvStatus.INVALID_PARAMETER)
        try:
            registers.write(target, name, int.from_bytes(value, "little"))
        except RegisterAccessError as error:
            return RepReply(completed, error.status)
        except RegisterWait:
            # The caller is suspended at this element: what was not completed is done again.
            return RepReply(completed)
        completed += 1
    return RepReply(completed)


def _target(
    vp: VirtualProcessor, partition_id: int, vp_index: int, input_vtl: int
) -> VirtualProcessorVtl | HvStatus:
    """Return the VTL of the VP whose registers are meant, or why there is none."""
    target = target_processor(vp, partition_id, vp_index)
    if isinstance(target, HvStatus):
        return target
    status, vtl = input_vtl_status(vp, input_vtl)
    if status:
        return status
    state = target.vtls.get(vtl)
    return HvStatus.INVALID_VTL_STATE if state is None else state


def _is_own(vp: VirtualProcessor, state: VirtualProcessorVtl, name: int) -> bool:
    """Return whether a register is one of the processor, in the caller's own VTL."""
    return state.vtl == vp.active_vtl and name in PROCESSOR_REGISTERS
