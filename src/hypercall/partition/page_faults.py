"""Pages that the host has taken out, and the enlightened page faults that tell the guest of them.

Only names, layouts and one remark are public (HvExtCallEpfSetup; the fault information in the VP
assist page; the header that describes the delivery mode NT as "IF and IRQL < DISPATCH_LEVEL").
The rest is inferred:

- An access to a page that is out raises a virtualization exception, vector 20 without an error
  code, if the VP's mode allows it. The fault area has code 1 and as parameter 1 the number of the
  page; until the guest sets the code to 0 no further fault is raised.
- Where no such fault can be raised, the host brings the page in while the access waits.
- When the page is in again, its number is written to the completion queue: the slot of WriteCursor,
  which moves on around the queue; the guest moves ReadCursor. One slot stays free.
"""

import struct
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from hypercall.errors import GuestMemoryError
from hypercall.partition.memory import PAGE_SIZE
from hypercall.tlfs.assist_page import (
    VIRTUALIZATION_FAULT_CODE_OFFSET,
    VIRTUALIZATION_FAULT_EPF,
    VIRTUALIZATION_FAULT_OFFSET,
)
from hypercall.tlfs.call_flags import HeatType
from hypercall.tlfs.registers import RegisterName

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.timers import TimerHandle
    from hypercall.partition.virtual_processor import VirtualProcessor

VIRTUALIZATION_EXCEPTION = 20
BRING_IN_NS = 500_000
"""How long it takes to bring a page in; the public record has no figure."""
MAX_QUEUE_PAGES = 16
"""How many pages of the completion queue are used at most."""

_FAULT = struct.Struct("<HHIQ")
_CURSORS = 16
_INTERRUPT_FLAG = 1 << 9
_DISPATCH_LEVEL = 2


class CompletionQueue(NamedTuple):
    """Where completions are written.

    Attributes:
        vtl: the VTL in whose memory it lies.
        gpa: the address of its cursors, before the slots.
        slots: how many completions it has slots for.
    """

    vtl: int
    gpa: int
    slots: int


class PageFaults:
    """The pages of a partition that are out, and who waits for them.

    Args:
        partition: the partition.

    Attributes:
        queue: where completions go, or None while the guest has not set faults up.
    """

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition
        self.queue: CompletionQueue | None = None
        self._coming: dict[int, TimerHandle] = {}
        self._unqueued: list[int] = []
        self._retry: TimerHandle | None = None

    def set_up(self, vtl: int, page: int, count: int) -> int | None:
        """Raise faults from now on and tell of completions in a queue, at first an empty one.

        Args:
            vtl: the VTL that asks.
            page: the first page of the queue.
            count: how many pages it has.

        Returns:
            How many of them are used, or None where they cannot be.
        """
        memory = self._partition.memory
        used = min(count, MAX_QUEUE_PAGES)
        if not used or any(not memory.is_ram(page + index) for index in range(used)):
            return None
        queue = CompletionQueue(vtl, page * PAGE_SIZE, (used * PAGE_SIZE - _CURSORS) // 8)
        try:
            memory.check(queue.gpa, used * PAGE_SIZE, vtl, write=True)
            memory.write(queue.gpa, bytes(_CURSORS), vtl)
        except GuestMemoryError:
            return None
        self.queue = queue
        return used

    def evict(self, page: int) -> None:
        """Take a page of RAM out; guest code that touches it must wait for it."""
        self._partition.memory.set_evicted(page, True)
        self._partition.effects.hint_memory(HeatType.COLD, page, 1)

    def bring_in(self, page: int) -> None:
        """Let the guest have a page again, and tell whoever was told that it is out."""
        self._partition.memory.set_evicted(page, False)
        handle = self._coming.pop(page, None)
        if handle is not None:
            self._partition.timers.cancel(handle)
            self._unqueued.append(page)
            self._queue_completions()

    def bring_in_range(self, first: int, count: int) -> None:
        """Let the guest have all pages of a range."""
        evicted = self._partition.memory.evicted
        for page in sorted(page for page in evicted if first <= page < first + count):
            self.bring_in(page)

    def touched(self, vp: "VirtualProcessor", page: int) -> bool:
        """Serve an access of guest code to a page that is out.

        Returns:
            True when a fault is on its way, and the instruction is left; False when the page is
            in again.
        """
        state = vp.current
        view = state.assist_page.view
        if view is None or not self._deliverable(vp):
            self.bring_in(page)
            return False
        fault = _FAULT.pack(0, 0, VIRTUALIZATION_FAULT_EPF, page)
        view[VIRTUALIZATION_FAULT_OFFSET : VIRTUALIZATION_FAULT_OFFSET + len(fault)] = fault
        state.assist_page.wrote(VIRTUALIZATION_FAULT_OFFSET, len(fault))
        partition = self._partition
        if page not in self._coming:
            at = partition.clock.now() + BRING_IN_NS
            self._coming[page] = partition.timers.schedule(at, partial(self.bring_in, page))
        partition.effects.inject_exception(vp, vp.active_vtl, VIRTUALIZATION_EXCEPTION, None, 0)
        return True

    def reset(self) -> None:
        """Go to the state of a new partition: all pages are in, and faults are not set up."""
        for handle in self._coming.values():
            self._partition.timers.cancel(handle)
        self._coming.clear()
        self._unqueued.clear()
        if self._retry is not None:
            self._partition.timers.cancel(self._retry)
            self._retry = None
        self.queue = None
        for page in sorted(self._partition.memory.evicted):
            self._partition.memory.set_evicted(page, False)

    def _deliverable(self, vp: "VirtualProcessor") -> bool:
        """Return whether the VP can take a fault now: mode NT, and the last one is consumed."""
        queue = self.queue
        if queue is None or queue.vtl != vp.active_vtl:
            return False
        state = vp.current
        view = state.assist_page.view
        at = VIRTUALIZATION_FAULT_CODE_OFFSET
        if view is None or any(view[at : at + 4]):
            return False
        flags = self._partition.effects.read_register(vp, vp.active_vtl, RegisterName.RFLAGS)
        return bool(flags & _INTERRUPT_FLAG) and state.apic.tpr >> 4 < _DISPATCH_LEVEL

    def _queue_completions(self) -> None:
        """Write the completions that the queue has room for; try again later with the others."""
        queue = self.queue
        partition = self._partition
        self._retry = None
        try:
            while self._unqueued and queue is not None:
                reader, writer = struct.unpack(
                    "<QQ", partition.memory.read(queue.gpa, _CURSORS, queue.vtl)
                )
                # The guest may write anything there: what is no slot counts as the first.
                writer = writer if writer < queue.slots else 0
                following = (writer + 1) % queue.slots
                if following == reader:
                    at = partition.clock.now() + BRING_IN_NS
                    self._retry = partition.timers.schedule(at, self._queue_completions)
                    return
                page = self._unqueued.pop(0)
                slot = queue.gpa + _CURSORS + 8 * writer
                partition.memory.write_u64(slot, page, queue.vtl)
                partition.memory.write_u64(queue.gpa + 8, following, queue.vtl)
        except GuestMemoryError:
            # The queue's memory is another VTL's now: nobody can be told any more.
            self.queue = None
        self._unqueued.clear()
