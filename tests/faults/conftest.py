"""A machine as faults see it, without an engine."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hypercall.abi.plan import Plan
from hypercall.abi.reply import Handler
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.partition import Partition
from hypercall.partition.standalone import standalone_partition


@dataclass
class FakeHost:
    partition: Partition = field(default_factory=lambda: standalone_partition().partition)
    seed: int = 0
    counts_time: bool = True
    time: int = 0
    marked: int = 0
    told: list[str] = field(default_factory=list)
    interposed: Callable[[Plan], Handler] | None = None
    shown: PartitionConfiguration | None = None

    def now(self) -> int:
        return self.time

    def pass_time(self, nanoseconds: int) -> None:
        self.time += nanoseconds

    def place(self) -> int:
        return 0x1000

    def symbol(self, address: int) -> str | None:
        return "here+0x10" if address == 0x1000 else None

    def tell(self, text: str) -> None:
        self.told.append(text)

    def mark_answer(self) -> None:
        self.marked += 1

    def interpose(self, choose: Callable[[Plan], Handler] | None) -> None:
        self.interposed = choose

    def show_cpuid(self, shown: PartitionConfiguration, told: Callable[[int], None] | None) -> None:
        self.shown = shown


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()
