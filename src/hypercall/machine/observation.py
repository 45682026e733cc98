"""Tells the subscribers of a machine what happens on it."""

from collections.abc import Callable
from typing import ClassVar

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.record import CallRecord
from hypercall.cpu.unicorn.engine import Engine
from hypercall.machine.console import Console
from hypercall.machine.exits import MachineExits
from hypercall.machine.guest_view import GuestView
from hypercall.machine.processors import Processors
from hypercall.partition.partition import Partition
from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl
from hypercall.trace.events import (
    ConsoleEvent,
    HaltEvent,
    HypercallEvent,
    MachineEvent,
    MessageEvent,
    Position,
)
from hypercall.trace.hub import TraceHub

CallObserver = Callable[[HypercallEvent], None]
"""Called with each event of one call."""


class Observation:
    """Makes events of what the parts of a machine tell it, where somebody wants them.

    Args:
        trace: where to put them.
        exits: knows where the guest is.
        dispatcher: tells of calls.
        engine: the engine.
        processors: tell who rests.
        partition: tells what was delivered.
        console: tells what the guest writes.
        view: knows who called the hypercall page.

    Attributes:
        call_observers: who observes one call alone, by its code.
    """

    not_state: ClassVar[tuple[str, ...]] = ("call_observers",)

    def __init__(
        self,
        trace: TraceHub,
        exits: MachineExits,
        dispatcher: Dispatcher,
        engine: Engine,
        processors: Processors,
        partition: Partition,
        console: Console,
        view: GuestView,
    ) -> None:
        self._trace = trace
        self._exits = exits
        self._dispatcher = dispatcher
        self._engine = engine
        self._processors = processors
        self._view = view
        self.call_observers: dict[int, list[CallObserver]] = {}
        processors.on_rest = self._rests
        partition.on_delivery = self._delivered
        console.output.append(self._wrote)

    def connect(self) -> None:
        """Let records of calls be made if somebody wants them, before a run."""
        wanted = self.call_observers or self._trace.wants(HypercallEvent)
        self._dispatcher.observer = self._called if wanted else None

    def emit(self, kind: str, text: str) -> None:
        """Tell something about the machine as a whole."""
        if self._trace.wants(MachineEvent):
            self._trace.emit(MachineEvent(self._exits.position(), kind, text))

    def _called(self, record: CallRecord) -> None:
        position = self._exits.position(self._view.call_site())
        position.time_ns = record.entered_at
        event = HypercallEvent(position, record)
        self._trace.emit(event)
        if record.declaration is not None:
            for observer in self.call_observers.get(record.declaration.code, ()):
                observer(event)

    def _rests(self, vp: VirtualProcessor, rests: bool) -> None:
        if self._trace.wants(HaltEvent):
            rip = self._engine.get_rip(self._processors.context(vp))
            position = Position(self._engine.time(), vp.index, vp.active_vtl, rip)
            self._trace.emit(HaltEvent(position, rests))

    def _delivered(
        self, owner: VirtualProcessorVtl, sint: int, vector: int | None, message_type: int | None
    ) -> None:
        if self._trace.wants(MessageEvent):
            position = self._exits.position()
            index = owner.vp.index
            self._trace.emit(MessageEvent(position, index, owner.vtl, sint, vector, message_type))

    def _wrote(self, data: bytes) -> None:
        if self._trace.wants(ConsoleEvent):
            self._trace.emit(ConsoleEvent(self._exits.position(), data))
