"""What a machine is made of, fixed when it is made."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hypercall.errors import InputError
from hypercall.partition.configuration import (
    PartitionConfiguration,
    processors_in_order,
)
from hypercall.partition.profiles import DEFAULT_PROFILE, parse_privileges
from hypercall.tlfs.readings import ReadingSet

SMALLEST_MEMORY = 1 << 20
LARGEST_MEMORY = 64 << 30
_PAGE = 4096
_TIMES = ("virtual", "host")


@dataclass(frozen=True)
class MachineConfiguration:
    """What a machine is made of.

    Attributes:
        cpus: the number of virtual processors, 1 to 64.
        memory: bytes of RAM, a multiple of 4096, 1 MiB to 64 GiB.
        seed: varies the lengths of the processors' turns; the same seed gives the same run.
        time: ``"virtual"`` counts executed code, ``"host"`` follows the host's clock.
        like: the name of a reading set: ``hyperv``, ``kvm``, ``xen`` or ``openvmm``.
        shuffle_vp_index: a seed that makes VP indexes differ from APIC ids, or None.
        privileges: what the partition may do and has: the name of a profile, a privilege mask, or
            changes, see `hypercall.partition.profiles.parse_privileges`.
        date: what the real-time clock shows when the machine starts.
        partition: attributes of `PartitionConfiguration` to replace, by name.

    Raises:
        InputError: a value is out of range.
    """

    cpus: int = 1
    memory: int = 256 << 20
    seed: int = 0
    time: str = "virtual"
    like: str = "hyperv"
    shuffle_vp_index: int | None = None
    privileges: str = DEFAULT_PROFILE
    date: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    partition: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.memory % _PAGE or not SMALLEST_MEMORY <= self.memory <= LARGEST_MEMORY:
            raise InputError(
                f"memory of {self.memory} bytes cannot be had: give a multiple of 4096 "
                "from 1 MiB to 64 GiB"
            )
        if self.time not in _TIMES:
            raise InputError(f"there is no time {self.time!r}: give virtual or host")
        parse_privileges(self.privileges)

    def partition_configuration(self) -> PartitionConfiguration:
        """The partition that the machine runs.

        Raises:
            InputError: the number of processors is out of range, or there is no such reading set.
        """
        configuration = PartitionConfiguration(
            processors=processors_in_order(self.cpus, shuffle_vp_index=self.shuffle_vp_index),
            memory_size=self.memory,
            readings=ReadingSet.named(self.like),
        )
        configuration = parse_privileges(self.privileges).apply(configuration)
        return configuration.replace(**self.partition) if self.partition else configuration
