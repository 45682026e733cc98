"""The register PENDING_EVENT0: an exception that one VTL raises in another (TLFS)."""

from typing import TYPE_CHECKING

from hypercall.partition.register_access import RegisterAccessError
from hypercall.tlfs.registers import (
    PENDING_EVENT_DELIVER_ERROR_CODE,
    PENDING_EVENT_ERROR_CODE,
    PENDING_EVENT_PENDING,
    PENDING_EVENT_TYPE,
    PENDING_EVENT_VECTOR,
)
from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

_EXCEPTION = 0
_EXCEPTION_COUNT = 32
_PARAMETER_SHIFT = 64


def read_pending_event(state: "VirtualProcessorVtl") -> int:
    """Return the register: an event that was written and waits for the VTL to run."""
    return state.secure.pending_event


def write_pending_event(state: "VirtualProcessorVtl", value: int) -> None:
    """Raise an exception before the next instruction of the VTL.

    Raises:
        RegisterAccessError: INVALID_REGISTER_VALUE for an event that is no exception.
    """
    if not PENDING_EVENT_PENDING.get(value):
        state.secure.pending_event = 0
        return
    vector = PENDING_EVENT_VECTOR.get(value)
    if PENDING_EVENT_TYPE.get(value) != _EXCEPTION or vector >= _EXCEPTION_COUNT:
        raise RegisterAccessError(HvStatus.INVALID_REGISTER_VALUE)
    with_code = PENDING_EVENT_DELIVER_ERROR_CODE.get(value)
    if state.vp.active_vtl != state.vtl:
        state.secure.pending_event = value
    state.partition.effects.inject_exception(
        state.vp,
        state.vtl,
        vector,
        PENDING_EVENT_ERROR_CODE.get(value) if with_code else None,
        value >> _PARAMETER_SHIFT,
    )
