"""What a guest says about the heat of its memory (HvExtCallMemoryHeatHint and its async form)."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from hypercall.partition.memory import PAGE_SIZE, Permission
from hypercall.tlfs.call_flags import HeatType
from hypercall.tlfs.gpa_range import GpaRange
from hypercall.tlfs.privileges import ExtendedCapability
from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.timers import TimerHandle

COMPLETION_NS = 1_000_000
"""How long a hint takes that is not waited for; the public record has no figure."""
MOST_PENDING = 64
"""So many calls' hints may wait to be followed; those of further calls are followed at once."""

_WRITE = int(Permission.WRITE)


class MemoryHints:
    """The hints of a partition, and those that are still to be followed.

    Args:
        partition: whose memory they are about.
    """

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition
        self._pending: dict[int, TimerHandle] = {}
        self._sequence = 0

    @property
    def pending_count(self) -> int:
        """How many calls' hints are taken and not followed yet."""
        return len(self._pending)

    def type_status(self, heat: int, hint: ExtendedCapability) -> HvStatus:
        """Say whether the partition may give hints of a type.

        Args:
            heat: the type, a `HeatType` or not.
            hint: the capability that hints of cold and hot memory need; to discard needs its own.
        """
        if heat not in tuple(HeatType):
            return HvStatus.INVALID_PARAMETER
        if heat == HeatType.COLD_DISCARD:
            hint = ExtendedCapability.MEMORY_COLD_DISCARD_HINT
        granted = self._partition.configuration.extended_capabilities & hint
        return HvStatus.SUCCESS if granted else HvStatus.INVALID_PARAMETER

    def range_status(self, vtl: int, heat: int, entry: GpaRange | None) -> HvStatus:
        """Say whether a range can be hinted at.

        Args:
            vtl: the VTL that gives the hint.
            heat: the type.
            entry: the range, None for a malformed one.
        """
        partition = self._partition
        if entry is None or not self._is_ram(entry):
            return HvStatus.INVALID_PARAMETER
        if not entry.large and partition.readings.memory_hint_small_range is not None:
            return partition.readings.memory_hint_small_range
        if heat == HeatType.COLD_DISCARD and not self._may_write(entry, vtl):
            return HvStatus.ACCESS_DENIED
        return HvStatus.SUCCESS

    def follow(self, heat: int, ranges: Sequence[GpaRange]) -> None:
        """Follow hints at once."""
        for entry in ranges:
            if heat != HeatType.COLD:
                self._partition.page_faults.bring_in_range(entry.first, entry.page_count)
            self._partition.effects.hint_memory(HeatType(heat), entry.first, entry.page_count)

    def follow_later(self, vtl: int, heat: int, ranges: Sequence[GpaRange]) -> None:
        """Follow hints when some virtual time has passed.

        Args:
            vtl: the VTL that gives the hints; what it may no longer write then is not dropped.
            heat: the type.
            ranges: the ranges.
        """
        if len(self._pending) >= MOST_PENDING:
            self.follow(heat, ranges)
            return
        self._sequence += 1
        number = self._sequence
        complete = partial(self._complete, number, vtl, heat, tuple(ranges))
        timers = self._partition.timers
        at = self._partition.clock.now() + COMPLETION_NS
        self._pending[number] = timers.schedule(at, complete)

    def _complete(self, number: int, vtl: int, heat: int, ranges: Sequence[GpaRange]) -> None:
        del self._pending[number]
        discard = heat == HeatType.COLD_DISCARD
        self.follow(heat, [each for each in ranges if not discard or self._may_write(each, vtl)])

    def reset(self) -> None:
        """Forget the hints that are not followed yet."""
        for handle in self._pending.values():
            self._partition.timers.cancel(handle)
        self._pending.clear()

    def _is_ram(self, entry: GpaRange) -> bool:
        """Return whether all pages of a range are RAM, which lies in two runs at most."""
        memory = self._partition.memory
        last = entry.first + entry.page_count - 1
        if not memory.is_ram(entry.first) or not memory.is_ram(last):
            return False
        high = 1 << 20  # the page at 4 GiB
        return last < high or entry.first >= high

    def _may_write(self, entry: GpaRange, vtl: int) -> bool:
        """Return whether no higher VTL forbids the writing of any page of a range.

        What is dropped is RAM, also where an overlay page of the VTL hides it.
        """
        memory = self._partition.memory
        protections = memory.protections
        if protections is None or not protections.restricted(vtl):
            return True
        for page in range(entry.first, entry.first + entry.page_count):
            offset = memory.ram_offset(page)
            if offset is None or not protections.allowed(offset // PAGE_SIZE, vtl) & _WRITE:
                return False
        return True
