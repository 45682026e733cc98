"""A guest's way of making calls, without a processor."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.outcome import Outcome, OutcomeKind
from hypercall.calls import HANDLERS
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.standalone import StandalonePartition, standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.readings import ReadingSet

INPUT = 0x8000
OUTPUT = 0x9000


@dataclass
class Registers:
    """The registers of a 64-bit caller at privilege level 0."""

    xmm: bytes = bytes(96)
    written: dict[int, bytes] = field(default_factory=dict)
    cpl: int = 0
    protected_mode: bool = True
    long_mode: bool = True
    rax: int = 0

    def read_xmm(self) -> bytes:
        return self.xmm

    def write_register_pairs(self, first_pair: int, data: bytes) -> None:
        self.written[first_pair] = data


class Guest:
    """Makes calls as the code of a partition's processors would.

    Attributes:
        box: the partition.
        registers: those of the last call.
    """

    def __init__(self, box: StandalonePartition) -> None:
        self.box = box
        self.partition = box.partition
        self.effects = box.effects
        self.dispatcher = Dispatcher(box.partition, DECLARATIONS, HANDLERS)
        self.registers = Registers()
        bootstrap = box.partition.bootstrap
        box.partition.msrs.write(bootstrap, 0x40000000, 1 << 63)
        box.partition.msrs.write(bootstrap, 0x40000001, 0x1001)

    def vp(self, index: int = 0) -> VirtualProcessor:
        return self.partition.by_index[index]

    def attempt(self, control: int, rdx: int, r8: int, vp: int = 0) -> Outcome:
        return self.dispatcher.dispatch(self.vp(vp), control, rdx, r8, self.registers)

    def call(self, control: int, *words: int, vp: int = 0) -> int:
        """Make a call with its input in memory, as consecutive words, and return the result."""
        self.partition.memory.write(INPUT, struct.pack(f"<{len(words)}Q", *words))
        return self._result(control, INPUT, OUTPUT, vp)

    def fast(self, control: int, rdx: int = 0, r8: int = 0, *xmm: int, vp: int = 0) -> int:
        """Make a call with its input in registers, XMM words from XMM0's low half on."""
        self.registers.xmm = struct.pack(f"<{len(xmm)}Q", *xmm).ljust(96, b"\0")
        return self._result(control | 1 << 16, rdx, r8, vp)

    def _result(self, control: int, rdx: int, r8: int, vp: int) -> int:
        outcome = self.attempt(control, rdx, r8, vp)
        assert outcome.kind is OutcomeKind.COMPLETE, outcome.kind
        return outcome.value

    def output(self, length: int) -> bytes:
        return self.partition.memory.read(OUTPUT, length)


@pytest.fixture
def make_guest() -> Callable[..., Guest]:
    def make(count: int = 4, reading: str = "hyperv", **changes: object) -> Guest:
        configuration = PartitionConfiguration(
            processors=processors_in_order(count),
            memory_size=1 << 20,
            readings=ReadingSet.named(reading),
        )
        return Guest(standalone_partition(configuration.replace(**changes)))

    return make


@pytest.fixture
def guest(make_guest: Callable[..., Guest]) -> Guest:
    return make_guest()


__all__ = ["INPUT", "OUTPUT", "Call", "Guest", "make_guest"]
