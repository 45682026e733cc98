"""What faults need of a machine, see ``hypercall.faults``."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypercall.abi.plan import Plan
from hypercall.abi.reply import Handler
from hypercall.machine.processor_features import Leaf, ProcessorFeatures
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.partition.partition import Partition

if TYPE_CHECKING:
    from hypercall.cpu.unicorn.engine import Engine
    from hypercall.machine.exits import MachineExits
    from hypercall.machine.guest_machine import GuestMachine


class MachineFaultHost:
    """A machine as faults see it.

    Args:
        machine: the machine.
        engine: its engine.
        exits: its exits.
        call_site: returns the call site of the running call, or None.
    """

    def __init__(
        self,
        machine: "GuestMachine",
        engine: "Engine",
        exits: "MachineExits",
        call_site: Callable[[], int | None],
    ) -> None:
        self._machine = machine
        self._engine = engine
        self._exits = exits
        self._call_site = call_site

    @property
    def partition(self) -> Partition:
        """The partition whose processors meet them."""
        return self._machine.partition

    @property
    def seed(self) -> int:
        """The seed of the machine."""
        return self._machine.configuration.seed

    @property
    def counts_time(self) -> bool:
        """Whether time is virtual, so that it can be made to pass."""
        return not self._engine.host_time

    def now(self) -> int:
        """The virtual time in nanoseconds."""
        return self._engine.time()

    def pass_time(self, nanoseconds: int) -> None:
        """Let virtual time pass within an exit; then what has become due meanwhile comes."""
        self._engine.skew += nanoseconds
        self._machine.processors.stop_turn()

    def place(self) -> int:
        """The address behind the call of the hypercall page, or that of the instruction."""
        site = self._call_site()
        return self._exits.position().rip if site is None else site

    def symbol(self, address: int) -> str | None:
        """The guest's name for an address, as ``name+0x1a``, or None."""
        return self._machine.symbol(address)

    def tell(self, text: str) -> None:
        """Put one line on a fault that struck into the trace."""
        self._machine.emit("injected", text)

    def mark_answer(self) -> None:
        """Say that a fault answers the running call, so that its record tells."""
        self._machine.dispatcher.answered_by_fault = True

    def interpose(self, choose: Callable[[Plan], Handler] | None) -> None:
        """Let other handlers serve calls, or each its own again."""
        self._machine.dispatcher.interpose(choose)

    def show_cpuid(self, shown: PartitionConfiguration, told: Callable[[int], None] | None) -> None:
        """Let CPUID show a configuration.

        Args:
            shown: the configuration.
            told: called with each leaf that the guest reads, or None.
        """
        self._exits.features = (
            ProcessorFeatures(shown) if told is None else _WatchedFeatures(shown, told)
        )


class _WatchedFeatures(ProcessorFeatures):
    """Answers of CPUID of which somebody is told."""

    def __init__(self, configuration: PartitionConfiguration, told: Callable[[int], None]) -> None:
        super().__init__(configuration)
        self._told = told

    def read(self, apic_id: int, leaf: int, subleaf: int, *, apic_enabled: bool = True) -> Leaf:
        self._told(leaf)
        return super().read(apic_id, leaf, subleaf, apic_enabled=apic_enabled)
