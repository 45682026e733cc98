"""The faults of one machine: arms them, and disarms them."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from hypercall.errors import InputError
from hypercall.faults.armed import ArmedFault, FaultHost
from hypercall.faults.calls import CallAttempt, CallFaults
from hypercall.faults.deliveries import Delivery, DeliveryFaults
from hypercall.faults.fault import (
    BufferFault,
    CallFault,
    CpuidFault,
    Fault,
)
from hypercall.faults.features import Lies, check_lie, refused_calls
from hypercall.faults.grammar import parse_fault
from hypercall.tlfs.status import HvStatus


class Faults:
    """The faults of one machine.

    While none is armed the machine runs as if there were no such thing.

    Args:
        host: the machine.

    Attributes:
        armed: the faults that are armed, in the order of their arming.
    """

    not_state: ClassVar[tuple[str, ...]] = ("_ever_lied",)

    def __init__(self, host: FaultHost) -> None:
        self._host = host
        self._ever_lied = False
        self._truth = host.partition.configuration
        self._calls = CallFaults(host)
        self._deliveries = DeliveryFaults(host)
        self._lies: list[tuple[CpuidFault, ArmedFault]] = []
        self._numbers: dict[str, int] = {}
        self.armed: list[ArmedFault] = []

    def inject(
        self, fault: str | Fault, *, confirm: Callable[[], bool] | None = None
    ) -> ArmedFault:
        """Arm a fault from now on.

        Where several faults fit one call or one delivery, the one that was armed first strikes.

        Args:
            fault: the fault, or its text (``hypercall faults`` explains it).
            confirm: asked when the fault is about to strike; it does not if that returns False.
                Faults of CPUID and of buffers do not ask.

        Returns:
            The armed fault, which counts how often it struck. It can be used as a context manager,
            and is disarmed when that ends.

        Raises:
            InputError: the text means nothing, or the machine has nothing that the fault names.
        """
        if isinstance(fault, str):
            fault = parse_fault(fault)
        self._check(fault)
        text = str(fault)
        number = self._numbers[text] = self._numbers.get(text, -1) + 1
        armed = ArmedFault(fault, self._host, number, self._disarm, confirm)
        self.armed.append(armed)
        if isinstance(fault, CallFault):
            self._calls.armed.append((fault, armed))
        elif isinstance(fault, CpuidFault):
            self._lies.append((fault, armed))
        elif isinstance(fault, BufferFault):
            self._deliveries.buffers.append((fault, armed))
        else:
            self._deliveries.armed.append((fault, armed))
        self._changed(fault)
        return armed

    def observe(
        self,
        call: Callable[[CallAttempt], None] | None = None,
        delivery: Callable[[Delivery], None] | None = None,
    ) -> Callable[[], None]:
        """Be told of everything that a fault could strike, before it happens.

        Args:
            call: called with each call that is about to be carried out for the first time.
            delivery: called with each interrupt, message and expiration.

        Returns:
            A function that ends it.
        """
        if call is not None:
            self._calls.observers.append(call)
        if delivery is not None:
            self._deliveries.observers.append(delivery)
        self._connect()

        def end() -> None:
            if call is not None:
                self._calls.observers.remove(call)
            if delivery is not None:
                self._deliveries.observers.remove(delivery)
            self._connect()

        return end

    def disarm_all(self) -> None:
        """Disarm every fault."""
        for armed in list(self.armed):
            self._disarm(armed)

    def settle(self) -> None:
        """Take over the faults that a snapshot has brought back, in place of those that were armed.

        How often they were met, and their random numbers, are as they were then.
        """
        if self._ever_lied or self._lies:
            self._lie()
        self._connect()

    def _disarm(self, armed: ArmedFault) -> None:
        if armed not in self.armed:
            return
        self.armed.remove(armed)
        calls, deliveries = self._calls, self._deliveries
        calls.armed = [each for each in calls.armed if each[1] is not armed]
        deliveries.armed = [each for each in deliveries.armed if each[1] is not armed]
        deliveries.buffers = [each for each in deliveries.buffers if each[1] is not armed]
        self._lies = [each for each in self._lies if each[1] is not armed]
        self._changed(armed.fault)

    def _changed(self, fault: Fault) -> None:
        if isinstance(fault, CpuidFault):
            self._lie()
        elif isinstance(fault, BufferFault):
            self._deliveries.buffers_changed()
        self._connect()

    def _lie(self) -> None:
        self._ever_lied = True
        lies = Lies(self._truth, self._lies)
        self._host.partition.change(lies.granted, lies.shown)
        self._host.show_cpuid(lies.shown, lies.told if self._lies else None)
        self._calls.refusals = {
            code: (HvStatus.ACCESS_DENIED, armed)
            for fault, armed in self._lies
            for code in refused_calls(fault)
        }

    def _connect(self) -> None:
        partition = self._host.partition
        partition.injection = self._deliveries if self._deliveries.wanted else None
        self._host.interpose(self._calls.handler if self._calls.wanted else None)

    def _check(self, fault: Fault) -> None:
        partition = self._host.partition
        if isinstance(fault, CpuidFault):
            check_lie(fault, self._truth)
            return
        if isinstance(fault, BufferFault):
            return
        if fault.vp is not None and fault.vp not in partition.by_index:
            raise InputError(
                f"the fault '{fault}': there is no virtual processor {fault.vp}: give an index"
                f" below {len(partition.processors)}"
            )
        if fault.vtl is not None and fault.vtl >= partition.configuration.vtl_count:
            raise InputError(
                f"the fault '{fault}': there is no virtual trust level {fault.vtl}: give one below"
                f" {partition.configuration.vtl_count}"
            )
        if isinstance(fault, CallFault) and fault.time_ns and not self._host.counts_time:
            raise InputError(
                f"the fault '{fault}': a call can take time only where time is virtual: leave out"
                " --time host"
            )
