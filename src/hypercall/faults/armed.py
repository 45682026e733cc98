"""A fault that is armed on a machine: it counts what fits it, and decides when it strikes."""

from __future__ import annotations

import random
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from hypercall.abi.plan import Plan
from hypercall.abi.reply import Handler
from hypercall.faults.fault import EVERY, BufferFault, CpuidFault, Fault, Occurrences
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.partition import Partition


class FaultHost(Protocol):
    """What faults need of a machine."""

    @property
    def partition(self) -> Partition:
        """The partition whose processors meet them."""

    @property
    def seed(self) -> int:
        """The seed of the machine."""

    def now(self) -> int:
        """The virtual time in nanoseconds."""

    def pass_time(self, nanoseconds: int) -> None:
        """Let virtual time pass within an exit."""

    @property
    def counts_time(self) -> bool:
        """Whether time is virtual, so that it can be made to pass."""

    def place(self) -> int:
        """The guest-virtual address that the running call is made from."""

    def symbol(self, address: int) -> str | None:
        """The guest's name for an address, as ``name+0x1a``, or None."""

    def tell(self, text: str) -> None:
        """Put one line on a fault that struck into the trace."""

    def mark_answer(self) -> None:
        """Say that a fault answers the running call, so that its record tells."""

    def interpose(self, choose: Callable[[Plan], Handler] | None) -> None:
        """Let other handlers serve calls, or each its own again."""

    def show_cpuid(self, shown: PartitionConfiguration, told: Callable[[int], None] | None) -> None:
        """Let CPUID show a configuration.

        Args:
            shown: the configuration.
            told: called with each leaf that the guest reads, or None.
        """


class ArmedFault:
    """A fault that is armed; as a context manager it is disarmed at the end.

    Attributes:
        fault: what it does.
        seen: how many occurrences fitted it.
        struck: how often it struck: calls answered, deliveries dropped or delayed, reads of a leaf
            that lies, posts that found a buffer full.
    """

    def __init__(
        self,
        fault: Fault,
        host: FaultHost,
        number: int,
        disarm: Callable[[ArmedFault], None],
        confirm: Callable[[], bool] | None,
    ) -> None:
        """Arm a fault; `hypercall.faults.injector.Faults` does.

        Args:
            fault: what it does.
            host: the machine.
            number: how many equal faults were armed on it before; each draws numbers of its own.
            disarm: takes it out.
            confirm: asked when it is about to strike; it does not if that returns False.
        """
        self.fault = fault
        self.seen = 0
        self.struck = 0
        self._host = host
        self._disarm = disarm
        self._confirm = confirm
        self._chosen = 0
        self._random = random.Random(f"fault {fault} number {number} of seed {host.seed}")
        constant = isinstance(fault, CpuidFault | BufferFault)
        self._occurrences: Occurrences = EVERY if constant else fault.occurrences  # type: ignore[union-attr]

    def chooses(self) -> bool:
        """Count an occurrence that fits; return whether the fault is to strike it."""
        chosen = self._occurrences
        if self._host.now() < chosen.after_ns:
            return False
        self.seen += 1
        if chosen.nth is not None:
            hit = self.seen == chosen.nth
        elif chosen.every is not None:
            hit = self.seen % chosen.every == 0
        elif chosen.share is not None:
            hit = self._random.random() < chosen.share
        else:
            hit = True
        if not hit or (chosen.times is not None and self._chosen >= chosen.times):
            return False
        if self._confirm is not None and not self._confirm():
            return False
        self._chosen += 1
        return True

    def strike(self, what: str) -> None:
        """Count that it struck, and tell the trace.

        Args:
            what: one line on what became of what.
        """
        self.struck += 1
        self._host.tell(f"{what} ({self.fault})")

    def disarm(self) -> None:
        """Let it strike no more; what it delayed still comes. Twice does no harm."""
        self._disarm(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.disarm()

    def __str__(self) -> str:
        return str(self.fault)
