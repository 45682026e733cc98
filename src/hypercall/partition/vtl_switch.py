"""Entering a higher VTL and returning to a lower one (TLFS ``vsm``, VTL Entry and VTL Exit)."""

import struct
from typing import TYPE_CHECKING

from hypercall.partition.run_state import RunState
from hypercall.partition.synic import EVENT_FLAGS_PER_SINT, SINT_COUNT
from hypercall.partition.vina import notify_of_lower_interrupts
from hypercall.tlfs.assist_page import (
    ENTRY_REASON_OFFSET,
    VTL_RETURN_ACTIONS_OFFSET,
    VTL_RETURN_RAX_OFFSET,
    VtlEntryReason,
)
from hypercall.tlfs.registers import VINA_AUTO_RESET, RegisterName

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl

_REASON = struct.Struct("<I")
_RETURN_64 = struct.Struct("<QQ")
_RETURN_32 = struct.Struct("<III")
_LOW = 0xFFFFFFFF
_AUTO_RESET = VINA_AUTO_RESET.mask
# A member of an enumeration is found slowly through its class.
_RUNNING, _WAITING = RunState.RUNNING, RunState.WAITING_FOR_START_UP
_RAX, _RCX, _RDX = RegisterName.RAX, RegisterName.RCX, RegisterName.RDX

_ACTION = struct.Struct("<QIBBH")
_ACTIONS_SIZE = 256
_ACTION_TYPE = struct.Struct("<Q")
_SIGNAL_EVENT = 1


def enter(vp: "VirtualProcessor", target: int, reason: VtlEntryReason) -> None:
    """Let a virtual processor run a higher VTL.

    Args:
        vp: the virtual processor.
        target: a VTL above the active one that is enabled on it.
        reason: why, which the entered VTL finds in its assist page.
    """
    source = vp.active_vtl
    state = vp.vtls[target]
    secure = state.secure
    view = state.assist_page.view
    if view is not None:
        _REASON.pack_into(view, ENTRY_REASON_OFFSET, reason)
        if vp.partition.readings.entry_fills_return_registers:
            _keep_registers(vp, source, state)
    if secure.vina & _AUTO_RESET:
        secure.vina_asserted = False
    secure.must_enter = False
    secure.scrubbed = False
    _switch(vp, source, target)


def leave(vp: "VirtualProcessor", fast: bool) -> bool:
    """Let a virtual processor return to the next lower VTL.

    Args:
        vp: the virtual processor.
        fast: the registers that a VTL call uses are not restored from the assist page.

    Returns:
        False when there is no lower VTL.
    """
    source = vp.active_vtl
    target = vp.next_lower_vtl()
    if target is None:
        return False
    state = vp.vtls[source]
    secure = state.secure
    if secure.config:
        vp.partition.vsm.release_locks(state)
    if secure.vina & _AUTO_RESET and vp.partition.readings.vina_reset_on_return:
        secure.vina_asserted = False
    view = state.assist_page.view
    if view is not None and _ACTION_TYPE.unpack_from(view, VTL_RETURN_ACTIONS_OFFSET)[0]:
        _act(state, view)
    _switch(vp, source, target)
    if view is not None and not fast:
        _restore_registers(vp, target, state, view)
    return True


def _switch(vp: "VirtualProcessor", source: int, target: int) -> None:
    state = vp.vtls[target]
    vp.active_vtl = target
    secure = state.secure
    vp.run_state = _RUNNING if secure.started else _WAITING
    secure.entered = True
    secure.nmi_waits = False
    secure.pending_event = 0
    vp.partition.effects.switch_vtl(vp, source, target)
    if secure.vina:
        notify_of_lower_interrupts(vp)


def _keep_registers(vp: "VirtualProcessor", source: int, state: "VirtualProcessorVtl") -> None:
    """Store the lower VTL's registers where a return that is not fast takes them from."""
    view = state.assist_page.view
    assert view is not None
    effects = vp.partition.effects
    rax = effects.read_register(vp, source, _RAX)
    rcx = effects.read_register(vp, source, _RCX)
    if state.secure.long_mode:
        _RETURN_64.pack_into(view, VTL_RETURN_RAX_OFFSET, rax, rcx)
    else:
        rdx = effects.read_register(vp, source, _RDX)
        _RETURN_32.pack_into(view, VTL_RETURN_RAX_OFFSET, rax & _LOW, rcx & _LOW, rdx & _LOW)


def _restore_registers(
    vp: "VirtualProcessor", target: int, state: "VirtualProcessorVtl", view: memoryview
) -> None:
    effects = vp.partition.effects
    if state.secure.long_mode:
        rax, rcx = _RETURN_64.unpack_from(view, VTL_RETURN_RAX_OFFSET)
    else:
        rax, rcx, rdx = _RETURN_32.unpack_from(view, VTL_RETURN_RAX_OFFSET)
        effects.write_register(vp, target, _RDX, rdx)
    effects.write_register(vp, target, _RAX, rax)
    effects.write_register(vp, target, _RCX, rcx)


def _act(state: "VirtualProcessorVtl", view: memoryview) -> None:
    """Carry out the return actions of the assist page, in order, after taking them away."""
    window = view[VTL_RETURN_ACTIONS_OFFSET : VTL_RETURN_ACTIONS_OFFSET + _ACTIONS_SIZE]
    actions = window.tobytes()
    window[:] = bytes(_ACTIONS_SIZE)
    for kind, vp_index, vtl, sint, flag in _ACTION.iter_unpack(actions):
        if kind != _SIGNAL_EVENT:
            return
        vp = state.partition.by_index.get(vp_index)
        # A VTL has no say in what happens in a higher one.
        if vp is None or vtl not in vp.vtls or vtl > state.vtl:
            continue
        synic = vp.vtls[vtl].synic
        if sint < SINT_COUNT and flag < EVENT_FLAGS_PER_SINT:
            synic.signal_event(sint, flag)
