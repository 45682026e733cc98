"""A partition without a machine: state and effects can be tried, no guest code runs."""

from dataclasses import dataclass

from hypercall.partition.clock import ManualClock, ReferenceClock
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.effects import RecordingEffects
from hypercall.partition.memory import PAGE_SIZE, GuestMemory
from hypercall.partition.partition import Partition

_PAGES_PER_PROCESSOR = 3
_PAGES_PER_PARTITION = 2
_SPARE_PAGES = 64
"""Overlay pages: SIMP, SIEFP and assist page; hypercall and TSC page; some for the caller."""


@dataclass(frozen=True, slots=True)
class StandalonePartition:
    """A partition with what stands for its machine.

    Attributes:
        partition: the partition.
        effects: records what the partition asks of its processors.
        time: the clock's time, which moves only when told to.
    """

    partition: Partition
    effects: RecordingEffects
    time: ManualClock

    def advance(self, nanoseconds: int) -> int:
        """Let time pass and run the timers that come due, each at its own time.

        Returns:
            How many timers ran.
        """
        end = self.time.nanoseconds + nanoseconds
        ran = 0
        while True:
            deadline = self.partition.timers.next_deadline()
            if deadline is None or deadline > end:
                break
            self.time.nanoseconds = max(self.time.nanoseconds, deadline)
            ran += self.partition.timers.run_due(self.time.nanoseconds)
        self.time.nanoseconds = end
        return ran


def standalone_partition(
    configuration: PartitionConfiguration | None = None,
) -> StandalonePartition:
    """Make a partition with zeroed RAM and recorded effects.

    Args:
        configuration: what it has and may do; by default one processor and 1 MiB of RAM.
    """
    if configuration is None:
        configuration = PartitionConfiguration(memory_size=1 << 20)
    pages_per_vtl = len(configuration.processors) * _PAGES_PER_PROCESSOR + _PAGES_PER_PARTITION
    arena_pages = configuration.vtl_count * pages_per_vtl + _SPARE_PAGES
    memory = GuestMemory(
        bytearray(configuration.memory_size),
        bytearray(arena_pages * PAGE_SIZE),
        address_bits=configuration.address_bits,
        vtl_count=configuration.vtl_count,
    )
    effects = RecordingEffects()
    time = ManualClock()
    partition = Partition(configuration, memory, effects, clock=ReferenceClock(time.now))
    return StandalonePartition(partition, effects, time)
