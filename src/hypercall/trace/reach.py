"""Whom a call reaches: the processors that it interrupts, or whose translations it flushes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from hypercall.abi.decoder import decode_call
from hypercall.abi.record import CallRecord
from hypercall.tlfs.call_flags import FlushFlags
from hypercall.tlfs.calls import Call
from hypercall.tlfs.control import ResultValue
from hypercall.tlfs.identifiers import input_vtl


class Purpose(Enum):
    """What a call does to the processors that it names."""

    INTERRUPT = "interrupt"
    FLUSH = "flush"


@dataclass(frozen=True, slots=True)
class Reach:
    """The processors that a call names.

    Attributes:
        purpose: what it does to them.
        processors: a bit for each VP index, or None for all of the partition.
        vector: of an interrupt; else 0.
        vtl: the VTL that gets the interrupt, or None for the caller's.
    """

    purpose: Purpose
    processors: int | None
    vector: int = 0
    vtl: int | None = None

    def indexes(self, count: int) -> Iterator[int]:
        """Return the VP indexes in ascending order.

        Args:
            count: how many virtual processors there are; those beyond are left out.
        """
        mask = self.processors
        return (index for index in range(count) if mask is None or mask >> index & 1)


_INTERRUPTS = (Call.SEND_SYNTHETIC_CLUSTER_IPI, Call.SEND_SYNTHETIC_CLUSTER_IPI_EX)
_FLUSHES = (
    Call.FLUSH_VIRTUAL_ADDRESS_SPACE,
    Call.FLUSH_VIRTUAL_ADDRESS_LIST,
    Call.FLUSH_VIRTUAL_ADDRESS_SPACE_EX,
    Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX,
)


def reach_of(record: CallRecord) -> Reach | None:
    """Return whom a call reached; None for a call that names nobody or did not succeed.

    A flush that is continued counts once, with the attempt that ends it.
    """
    declaration, result = record.declaration, record.result
    if declaration is None or result is None or ResultValue.parse(result).status:
        return None
    if declaration.code not in _INTERRUPTS and declaration.code not in _FLUSHES:
        return None
    values = {argument.name: argument.value for argument in decode_call(record).arguments}
    processors: int | None = None
    if values.get("flags", 0) & FlushFlags.ALL_PROCESSORS and declaration.code in _FLUSHES:
        # What the mask has, or whether there is one, does not matter.
        return Reach(Purpose.FLUSH, None)
    if "processor_mask" in values:
        processors = values["processor_mask"]
    elif "processors" in values:
        processors = values["processors"]
    else:
        return None
    if declaration.code in _INTERRUPTS:
        vtl = input_vtl(values["target_vtl"], -1)
        vector = values["vector"] & 0xFF
        return Reach(Purpose.INTERRUPT, processors, vector, None if vtl == -1 else vtl)
    return Reach(Purpose.FLUSH, processors)
