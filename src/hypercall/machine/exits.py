"""Serves the exits of the engine: each goes to the room that knows what it means."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.outcome import Outcome, OutcomeKind
from hypercall.cpu.interface import (
    ACCESS_FETCH,
    MODE_CPL,
    MODE_LONG,
    MODE_PROTECTED,
    MODE_VIRTUAL_8086,
    VIOLATION_ABANDON,
    VIOLATION_FAULT,
    VIOLATION_RETRY,
)
from hypercall.machine.board import Board
from hypercall.machine.devices.board_test_device import TEST_MEMORY
from hypercall.machine.processor_features import Leaf, ProcessorFeatures
from hypercall.machine.processor_msrs import ProcessorMsrs
from hypercall.machine.processors import Processors
from hypercall.partition.faults import GeneralProtection, Intercepted
from hypercall.partition.partition import Partition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.registers import RegisterName
from hypercall.trace.events import (
    CpuidEvent,
    InterruptEvent,
    MsrEvent,
    Position,
    VtlEvent,
)
from hypercall.trace.hub import TraceHub

if TYPE_CHECKING:
    from hypercall.cpu.unicorn.engine import Engine

_RAX, _RCX, _RDX, _R8 = 0, 1, 2, 8
_LOW = 0xFFFFFFFF
_PAGE = 4096
_PAGE_MASK = 0xFFF
_COMPLETE = OutcomeKind.COMPLETE
# A member of an enumeration is found slowly through its class.
_CONTINUE, _SUSPEND = OutcomeKind.CONTINUE, OutcomeKind.SUSPEND
_VTL_CALL, _VTL_RETURN = OutcomeKind.VTL_CALL, OutcomeKind.VTL_RETURN
_HYPERCALL_LENGTH = 3


class Caller:
    """The registers of the processor that makes a hypercall, read when they are asked for.

    Attributes:
        engine: the engine; set once it exists.
        mode: the mode as the engine tells it.
        cpl: the current privilege level; virtual-8086 mode counts as 3.
        protected_mode: whether CR0.PE is set.
        long_mode: whether the caller runs 64-bit code.
    """

    __slots__ = ("cpl", "engine", "long_mode", "mode", "protected_mode")

    def __init__(self) -> None:
        self.engine: Engine
        self.set_mode(0)

    def set_mode(self, mode: int) -> None:
        """Take over the mode of the caller."""
        self.mode = mode
        self.cpl = 3 if mode & MODE_VIRTUAL_8086 else mode & MODE_CPL
        self.protected_mode = bool(mode & MODE_PROTECTED)
        self.long_mode = bool(mode & MODE_LONG)

    @property
    def rax(self) -> int:
        """The control input of a VTL call or return."""
        engine = self.engine
        if self.mode & MODE_LONG:
            return engine.get_general(engine.current_context, _RAX)
        return engine.get_general(engine.current_context, _RCX) & _LOW

    def read_xmm(self) -> bytes:
        """XMM0 to XMM5."""
        return self.engine.get_xmm(self.engine.current_context, 0, 6)

    def write_register_pairs(self, first_pair: int, data: bytes) -> None:
        """Write output registers from a pair on: RDX and R8, then XMM0 to XMM5."""
        engine = self.engine
        context = engine.current_context
        if first_pair == 0:
            engine.set_general(context, _RDX, int.from_bytes(data[:8], "little"))
            engine.set_general(context, _R8, int.from_bytes(data[8:16], "little"))
            data = data[16:]
            first_pair = 1
        if data:
            engine.set_xmm(context, first_pair - 1, data)


class MachineExits:
    """The exits of one machine.

    Attributes:
        engine: the engine; set once it exists.
        features: what CPUID returns.
        on_spin: called when a processor has executed PAUSE 16 times since the last time, where
            there are several.
        on_read: called with the arguments of `watched_read`.
        on_stale: called with the arguments of `stale_translation`.
        on_triple_fault: called when a processor shuts down.
    """

    def __init__(
        self,
        partition: Partition,
        processors: Processors,
        dispatcher: Dispatcher,
        trace: TraceHub,
    ) -> None:
        self.engine: Engine
        self._partition = partition
        self._processors = processors
        self._dispatch = dispatcher.dispatch
        self._trace = trace
        self.features = ProcessorFeatures(partition.configuration)
        self._caller = Caller()
        self._processor_msrs = ProcessorMsrs()
        self._board: Board
        self.on_spin: Callable[[], None] | None = None
        self.on_read: Callable[[int, int], None] | None = None
        self.on_stale: Callable[[int, int, int, int | None, int], None] | None = None
        self.on_triple_fault: Callable[[], None] = lambda: None

    def attach(self, engine: "Engine", board: Board) -> None:
        """Say which engine and which board the exits are for."""
        self.engine = engine
        self._caller.engine = engine
        self._processor_msrs.engine = engine
        self._board = board

    def position(self, call_site: int | None = None) -> Position:
        """Where the running processor is."""
        vp = self._processors.current
        engine = self.engine
        rip = engine.get_rip(engine.current_context)
        return Position(engine.time(), vp.index, vp.active_vtl, rip, call_site)

    # --- exits ---------------------------------------------------------------------------------

    def hypercall(self, control: int, input: int, output: int, mode: int) -> int | None:
        """Make the call and give its result to the guest."""
        caller = self._caller
        if mode != caller.mode:
            caller.set_mode(mode)
        outcome = self._dispatch(self._processors.current, control, input, output, caller)
        if outcome.kind is _COMPLETE:
            return outcome.value
        return self._unusual(outcome, mode)

    def _unusual(self, outcome: Outcome, mode: int) -> int | None:
        kind = outcome.kind
        if kind is _VTL_CALL or kind is _VTL_RETURN:
            return self._switch_vtl(outcome)
        engine = self.engine
        if kind is _CONTINUE:
            # The instruction is not left: the guest issues it again with the new start index.
            context = engine.current_context
            if mode & MODE_LONG:
                engine.set_general(context, _RCX, outcome.value)
            else:
                engine.set_general(context, _RAX, outcome.value & _LOW)
                engine.set_general(context, _RDX, outcome.value >> 32)
            return None
        if kind is _SUSPEND:
            self._processors.stop_turn()
            return None
        return False

    def _switch_vtl(self, outcome: Outcome) -> int | None:
        # Each VTL goes on behind its own call or return.
        engine = self.engine
        context = engine.current_context
        vp = self._processors.current
        rip = engine.get_rip(context)
        engine.set_rip(context, rip + _HYPERCALL_LENGTH)
        left = vp.active_vtl
        traced = self._trace.active and self._trace.wants(VtlEvent)
        position = Position(engine.time(), vp.index, left, rip) if traced else None
        called = outcome.kind is _VTL_CALL
        vsm = self._partition.vsm
        done = vsm.vtl_call(vp) if called else vsm.vtl_return(vp, bool(outcome.value))
        if not done:
            engine.set_rip(context, rip)
            return False
        if position is not None:
            reason = "call" if called else "return"
            self._trace.emit(VtlEvent(position, vp.active_vtl, reason))
        return None

    def read_msr(self, index: int) -> int | None:
        """Read an MSR of the partition."""
        vp = self._processors.current
        value: int | None
        try:
            if index in self._processor_msrs:
                self._intercept_msr(vp, index)
                value = self._processor_msrs.read(index)
            else:
                value = self._partition.msrs.read(vp, index)
        except GeneralProtection:
            value = None
        except Intercepted:
            self._enter_interceptor(vp)
            return None
        if self._trace.active and self._trace.wants(MsrEvent):
            self._trace.emit(MsrEvent(self.position(), index, value or 0, False, value is None))
        return value

    def write_msr(self, index: int, value: int) -> bool:
        """Write an MSR of the partition."""
        vp = self._processors.current
        allowed = True
        traced = self._trace.active and self._trace.wants(MsrEvent)
        position = self.position() if traced else None
        try:
            if index in self._processor_msrs:
                self._intercept_msr(vp, index, value)
                self._processor_msrs.write(index, value)
            else:
                self._partition.msrs.write(vp, index, value)
        except GeneralProtection:
            allowed = False
        except Intercepted:
            self._enter_interceptor(vp)
            return False
        if position is not None:
            self._trace.emit(MsrEvent(position, index, value, True, not allowed))
        return allowed

    def _intercept_msr(self, vp: VirtualProcessor, index: int, value: int | None = None) -> None:
        if self._partition.vsm.msr_intercept(vp, index, value):
            raise Intercepted

    def _enter_interceptor(self, vp: VirtualProcessor) -> None:
        """Enter the VTL that was told of an access; the engine sees it, and leaves that undone."""
        target = vp.interrupting_vtl()
        assert target is not None, "an intercept lets its VTL run"
        self._partition.vsm.interrupt_entry(vp, target)

    def read_task_priority(self) -> int:
        """The task priority of the active VTL's APIC."""
        return self._processors.current.current.apic.tpr

    def write_task_priority(self, value: int) -> None:
        """Set the task priority of the active VTL's APIC."""
        self._processors.current.current.apic.write_task_priority(value)

    def cpuid(self, leaf: int, subleaf: int) -> Leaf:
        """What CPUID returns."""
        vp = self._processors.current
        enabled = vp.current.apic.enabled
        values = self.features.read(vp.apic_id, leaf, subleaf, apic_enabled=enabled)
        if self._trace.active and self._trace.wants(CpuidEvent):
            self._trace.emit(CpuidEvent(self.position(), leaf, subleaf, values))
        return values

    def read_port(self, port: int, size: int) -> int:
        """Read a port of the board."""
        return self._board.bus.read_port(port, size)

    def write_port(self, port: int, size: int, value: int) -> None:
        """Write a port of the board."""
        self._board.bus.write_port(port, size, value)

    def read_device(self, gpa: int, size: int) -> int:
        """Read a register of an interrupt controller or of a device on the bus."""
        if gpa >= TEST_MEMORY.start:
            return self._board.bus.read_memory(gpa, size)
        if gpa < 0xFEE00000:
            return self._board.io_apic.read_mmio(gpa & _PAGE_MASK, size)
        vp = self._processors.current
        return vp.current.apic.read_mmio(gpa & _PAGE_MASK, size)

    def write_device(self, gpa: int, size: int, value: int) -> None:
        """Write a register of an interrupt controller or of a device on the bus."""
        if gpa >= TEST_MEMORY.start:
            self._board.bus.write_memory(gpa, size, value)
            return
        if gpa < 0xFEE00000:
            self._board.io_apic.write_mmio(gpa & _PAGE_MASK, value, size)
            return
        vp = self._processors.current
        vp.current.apic.write_mmio(gpa & _PAGE_MASK, value, size)

    def resolve(self, page: int, table: int) -> int:
        """The entry of a page beyond RAM."""
        return self._processors.memory_map.entry(page, table)

    def memory_violation(self, address: int, gpa: int, access: int) -> int:
        """An access that the mapping does not allow.

        One that a higher VTL forbids is that VTL's affair; another one, as a store to the
        hypercall page, gets #GP. A page that the host has taken out comes in again, or the guest
        is told that it will.
        """
        vp = self._processors.current
        instruction = b"" if access == ACCESS_FETCH else self.engine.instruction()
        if self._partition.vsm.memory_violation(vp, address, gpa, access, instruction):
            # A fetch comes before its block: only a stop keeps it from being tried again.
            self._processors.stop_turn()
            return VIOLATION_ABANDON
        page = gpa // _PAGE
        if page in self._partition.memory.evicted:
            # In the middle of an interrupt's delivery there is no instruction to fault at.
            context = self.engine.current_context
            faults = self._partition.page_faults
            if self.engine.delivering_interrupt(context):
                faults.bring_in(page)
            elif faults.touched(vp, page):
                return VIOLATION_ABANDON
            return VIOLATION_RETRY
        return VIOLATION_FAULT

    def stale_translation(
        self, address: int, access: int, backing: int, gpa: int | None, since: int
    ) -> None:
        """A use of a translation that the paging structures do not give any more."""
        if self.on_stale is not None:
            self.on_stale(address, access, backing, gpa, since)

    def watched_read(self, address: int, offset: int) -> None:
        """A read of a page of RAM that is watched."""
        if self.on_read is not None:
            self.on_read(address, offset)

    def control_write(self, register: int, value: int) -> bool:
        """A write of CR0 or CR4 that a higher VTL may want to see."""
        name = RegisterName.CR0 if register == 0 else RegisterName.CR4
        vp = self._processors.current
        instruction = self.engine.instruction()
        intercepted = self._partition.vsm.register_intercept(vp, name, value, instruction)
        if intercepted:
            self._processors.leave_block()
        return intercepted

    def table_write(self, register: str, instruction: bytes) -> None:
        """A load of a descriptor table register that a higher VTL wants to see.

        If no VTL can be told of it, it is carried out, as a write of another register is.
        """
        vp = self._processors.current
        if self._partition.vsm.table_intercept(vp, RegisterName[register], instruction):
            self._processors.leave_block()
        else:
            self._processors.let_table_loads_pass()

    def halt(self) -> None:
        """HLT."""
        self._processors.halt()

    def spin(self) -> None:
        """The processor waits for another one: let others run."""
        if self.on_spin is not None:
            self.on_spin()
        if self._processors.others_could_run():
            self._processors.stop_turn()

    def triple_fault(self) -> None:
        """The processor shut down."""
        self.on_triple_fault()

    def acknowledge(self) -> int:
        """Accept the interrupt of the highest priority."""
        processors = self._processors
        vp = processors.current
        vector: int | None
        if processors.takes_external(vp):
            vector = self._board.interrupt_controllers.acknowledge()
        elif vp.pending_vector() is not None:
            vector = vp.current.apic.acknowledge()
        else:
            vector = None
        processors.interrupt_changed(vp)
        if vector is None:
            return -1
        if self._trace.active and self._trace.wants(InterruptEvent):
            self._trace.emit(InterruptEvent(self.position(), vector))
        return vector
