"""The virtual processors as the engine runs them: contexts, who could run, and their effects."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from hypercall.cpu.registers import ProcessorRegisters
from hypercall.cpu.unicorn.engine import Engine
from hypercall.cpu.unicorn.memory_map import MemoryMap
from hypercall.machine.host_memory import HostMemory
from hypercall.machine.page_runs import page_runs
from hypercall.partition.effects import TranslationFlush
from hypercall.partition.virtual_processor import RunState, VirtualProcessor
from hypercall.tlfs.call_flags import HeatType
from hypercall.tlfs.initial_context import InitialVpContext

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition

_PAGE = 4096
_CODE_SEGMENT = 1
_REAL_MODE_CODE = 0x9B00
_MANY_RANGES = 64
_NEVER = (1 << 64) - 1
_DEBUG, _PAGE_FAULT = 1, 14
# Bits of HvX64RegisterCrInterceptControl (TLFS, VSM, secure register intercepts).
_CR0_WRITE, _CR4_WRITE = 1 << 0, 1 << 1
_FIRST_TABLE_WRITE = 15
_INTERCEPTED_MSRS = (
    *((5, 0xC0000082), (6, 0xC0000082), (7, 0xC0000081), (8, 0xC0000081)),
    *((9, 0xC0000083), (10, 0xC0000083), (13, 0xC0000080), (14, 0xC0000080)),
    *((19, 0x174), (20, 0x176), (21, 0x175), (22, 0xC0000084), (23, 0xC0000103)),
)
"""(bit, MSR) of the accesses that the engine serves itself unless they are trapped."""


class Processors:
    """The effects that the partition asks for, carried out on an engine.

    Args:
        engine: the engine.
        host_memory: the host's memory behind the guest's RAM.

    Attributes:
        current: the virtual processor whose context is loaded, at first the boot processor.
        halted: the processors that rest until an interrupt.
        registers: the processor registers of every context.
        turn_end: the count of the engine at which the current turn ends; 0 once it was stopped.
        external_interrupt: tells whether an interrupt of the 8259A pair is pending for the
            boot processor.
        on_wake: called when a processor that could not run can run again.
        on_switch_vtl: called with a processor, the VTL that it leaves and the one that it comes to,
            before the registers that they share are carried over.
        on_rest: called with a processor when it rests (True) and when something wakes it (False).
        on_reset: called when the guest resets the partition.
        on_crash: called with the parameters and the message when the guest says it crashed.
    """

    not_state: ClassVar[tuple[str, ...]] = ("on_switch_vtl",)

    def __init__(self, engine: Engine, host_memory: HostMemory) -> None:
        self._engine = engine
        self._host_memory = host_memory
        self.registers = ProcessorRegisters(engine)
        self._contexts: dict[tuple[int, int], int] = {}
        self._run_time: dict[int, int] = {}
        self._turn_started = 0
        self.turn_end = 0
        self._run_end = _NEVER
        self.current: VirtualProcessor
        self.halted: set[VirtualProcessor] = set()
        self._idle: set[VirtualProcessor] = set()
        self._suspended: set[VirtualProcessor] = set()
        # VTLs that were left while they rested; whether they rested whatever IF is.
        self._resting: dict[tuple[VirtualProcessor, int], bool] = {}
        # VTLs whose loads of descriptor tables pass, since nobody could be told of them.
        self._passing: set[tuple[VirtualProcessor, int]] = set()
        self.external_interrupt: Callable[[], bool] = lambda: False
        self.on_wake: Callable[[], None] = lambda: None
        self.on_switch_vtl: Callable[[VirtualProcessor, int, int], None] | None = None
        self.on_rest: Callable[[VirtualProcessor, bool], None] = lambda *_: None
        self.on_reset: Callable[[], None] = lambda: None
        self.on_crash: Callable[[Sequence[int], bytes | None], None] = lambda *_: None
        self._partition: Partition
        self.memory_map: MemoryMap

    def attach(self, partition: "Partition", memory_map: MemoryMap) -> None:
        """Make a context for each virtual processor."""
        self._partition = partition
        self.memory_map = memory_map
        for vp in partition.processors:
            self._contexts[vp.index, 0] = memory_map.add_context(0)
            self._run_time[vp.index] = 0
        self._alone = len(partition.processors) == 1
        self.load(partition.bootstrap)

    def context(self, vp: VirtualProcessor, vtl: int | None = None) -> int:
        """The number of the engine's context of a VP in a VTL, by default the active one."""
        return self._contexts[vp.index, vp.active_vtl if vtl is None else vtl]

    # --- turns -------------------------------------------------------------------------------

    def runnable(self) -> set[VirtualProcessor]:
        """The processors that could run now."""
        return {
            vp
            for vp in self._partition.processors
            if vp.run_state is RunState.RUNNING and vp not in self.halted
        }

    def idles(self, vp: VirtualProcessor) -> bool:
        """Whether a halted processor rests by the idle MSR, which RFLAGS.IF does not matter to."""
        return vp in self._idle

    def suspended(self, vp: VirtualProcessor) -> bool:
        """Whether a halted processor rests on a call that waits for something."""
        return vp in self._suspended

    def others_could_run(self) -> bool:
        """Whether a processor beside the current one could run now."""
        return any(
            vp is not self.current and vp.run_state is RunState.RUNNING and vp not in self.halted
            for vp in self._partition.processors
        )

    def load(self, vp: VirtualProcessor) -> None:
        """Give the turn to a processor, in the highest VTL that has an interrupt for it."""
        if self._passing:
            self._intercept_again()
        target = vp.interrupting_vtl()
        if target is not None:
            self._partition.vsm.interrupt_entry(vp, target)
        elif self._resting:
            self._resting.pop((vp, vp.active_vtl), None)
        self._engine.switch(self.context(vp))
        self.current = vp
        self._turn_started = self._engine.time()

    def begin_turn(self, length: int, run_end: int | None) -> None:
        """Let the next run of the engine be a turn.

        Args:
            length: its length in counts of the engine.
            run_end: the virtual time in nanoseconds at which the run, but not the turn, ends.
        """
        self.turn_end = self._engine.count + length
        self.continue_turn(run_end)
        self.deadline_changed()

    def continue_turn(self, run_end: int | None) -> None:
        """Let the next run of the engine be the rest of the turn that was interrupted."""
        if run_end is None or self._engine.host_time:
            self._run_end = _NEVER
        else:
            self._run_end = self._count_at(run_end)
        self._engine.limit = min(self.turn_end, self._run_end)

    def shorten_turn(self, length: int) -> None:
        """Let the current turn end after at most a length from now, in counts of the engine."""
        self._end_turn_at(self._engine.count + length)

    def interrupt_turn(self) -> None:
        """Let the engine execute no further block, with the turn still to be finished."""
        self._run_end = 0
        self._engine.limit = 0

    def stop_turn(self) -> None:
        """End the current turn with the current block."""
        self.turn_end = 0
        self._engine.stop()

    def leave_block(self) -> None:
        """Let the current processor execute no further block before its VTLs are looked at."""
        self._end_turn_at(0)

    def _end_turn_at(self, count: int) -> None:
        self.turn_end = min(self.turn_end, count)
        self._engine.limit = min(self.turn_end, self._run_end)

    def end_turn(self) -> None:
        """Account for the time of the turn that has just ended."""
        now = self._engine.time()
        self._run_time[self.current.index] += now - self._turn_started
        self._turn_started = now

    def halt(self) -> None:
        """The current processor executed HLT: it rests unless an interrupt is ready for it."""
        vp = self.current
        if self._would_wake(vp):
            self.on_rest(vp, True)
            self.on_rest(vp, False)
            return
        self._rest(vp)
        self.stop_turn()

    def _rest(self, vp: VirtualProcessor) -> None:
        self.halted.add(vp)
        self.on_rest(vp, True)

    def _pending(self, vp: VirtualProcessor) -> bool:
        if vp.pending_vector() is not None:
            return True
        return self.takes_external(vp)

    def takes_external(self, vp: VirtualProcessor) -> bool:
        """Whether a processor would take an interrupt of the 8259A pair, which VTL 0 owns."""
        return vp.bootstrap and vp.active_vtl == 0 and self.external_interrupt()

    def _would_wake(self, vp: VirtualProcessor) -> bool:
        return vp.interrupting_vtl() is not None or self._own_interrupt(vp)

    def _own_interrupt(self, vp: VirtualProcessor) -> bool:
        context = self.context(vp)
        if self._engine.takes_nmi(context):
            return True
        return self._pending(vp) and (vp in self._idle or self._engine.interrupts_enabled(context))

    # --- the partition's effects ---------------------------------------------------------------

    def interrupt_changed(self, vp: VirtualProcessor) -> None:
        """See whether the processor has an interrupt to take; wake it if so."""
        self._engine.set_interrupt(self.context(vp), self._pending(vp))
        if vp in self.halted:
            if self._would_wake(vp):
                if vp not in self._suspended and not self._own_interrupt(vp):
                    # A higher VTL runs; when it returns this one rests again.
                    self._resting[vp, vp.active_vtl] = vp in self._idle
                self._awake(vp)
        elif vp is self.current and vp.interrupting_vtl() is not None:
            # Whatever the guest's IF is, the higher VTL is entered before the next block.
            self.leave_block()

    def flush_translations(self, flush: TranslationFlush) -> None:
        """Drop translations now for the running context, before its next turn for the others."""
        engine = self._engine
        ranges, vtl = flush.ranges, flush.vtl
        of_vtl = self._contexts.get
        found = [of_vtl((vp.index, vtl)) for vp in flush.targets]
        contexts = [number for number in found if number is not None]
        if ranges is not None and len(ranges) <= _MANY_RANGES:
            engine.flush_ranges(contexts, ranges)
            return
        for context in contexts:
            engine.flush(context)

    def yield_turn(self, vp: VirtualProcessor) -> None:
        """End the current turn if another processor could use it."""
        if self._alone:
            return
        if vp is self.current and self.others_could_run():
            self.stop_turn()

    def idle(self, vp: VirtualProcessor) -> None:
        """Rest until an interrupt is pending, even with interrupts disabled."""
        if self._pending(vp) or self._engine.takes_nmi(self.context(vp)):
            return
        self._idle.add(vp)
        self._rest(vp)
        if vp is self.current:
            self.stop_turn()

    def suspend(self, vp: VirtualProcessor) -> None:
        """Rest with the instruction pointer on the call; an interrupt is taken meanwhile."""
        if self._would_wake(vp):
            return
        self._suspended.add(vp)
        self._rest(vp)
        if vp is self.current:
            self.stop_turn()

    def resume(self, vp: VirtualProcessor) -> None:
        """Let a suspended processor run on."""
        if vp in self._suspended:
            self._awake(vp)

    def start_processor(self, vp: VirtualProcessor, vtl: int, context: InitialVpContext) -> None:
        """Load the registers; the processor takes part in the turns from now on."""
        number = self.context(vp, vtl)
        self._engine.reset_context(number)
        self.registers.write_context(number, context)
        self._awake(vp)

    def init_processor(self, vp: VirtualProcessor) -> None:
        """Reset the registers; the processor runs nothing until its start-up message."""
        self._engine.reset_context(self.context(vp))
        self._awake(vp)
        if vp is self.current:
            self.stop_turn()

    def startup_processor(self, vp: VirtualProcessor, vector: int) -> None:
        """Start in real mode at ``vector << 12``."""
        number = self.context(vp)
        self._engine.reset_context(number)
        self._engine.set_segment(
            number, _CODE_SEGMENT, vector << 8, vector << 12, 0xFFFF, _REAL_MODE_CODE
        )
        self._engine.set_rip(number, 0)
        self._awake(vp)

    def _awake(self, vp: VirtualProcessor) -> None:
        if vp in self.halted:
            self.halted.discard(vp)
            self.on_rest(vp, False)
        self._idle.discard(vp)
        self._suspended.discard(vp)
        if vp is not self.current:
            self.on_wake()

    # --- virtual trust levels --------------------------------------------------------------

    def vtl_enabled(self, vp: VirtualProcessor, vtl: int, context: InitialVpContext) -> None:
        """Give the VP a context for a VTL, or give the one it has its initial registers."""
        if (vp.index, vtl) not in self._contexts:
            self._contexts[vp.index, vtl] = self.memory_map.add_context(vtl)
        number = self._contexts[vp.index, vtl]
        self._engine.reset_context(number)
        self.registers.write_context(number, context)
        self._execution_changed(vp)

    def vtl_disabled(self, vp: VirtualProcessor, vtl: int) -> None:
        """Put the VTL's context back to reset state; it stays for the case of another enabling."""
        number = self._contexts.get((vp.index, vtl))
        if number is not None:
            self._engine.reset_context(number)
        self._execution_changed(vp)

    def _execution_changed(self, vp: VirtualProcessor) -> None:
        """Take over in which VTLs of the VP user code has an execute permission of its own."""
        for vtl in vp.vtls:
            governs = self._partition.vsm.mbec_enabled(vp, vtl)
            self._engine.set_user_execution(self.context(vp, vtl), governs)

    def switch_vtl(self, vp: VirtualProcessor, source: int, target: int) -> None:
        """Carry the shared registers over; a running VP goes on in the target's context."""
        if self._passing:
            self._intercept_again()
        if self.on_switch_vtl is not None:
            self.on_switch_vtl(vp, source, target)
        here, there = self._contexts[vp.index, source], self._contexts[vp.index, target]
        self._engine.share(here, there)
        if vp.run_state is not RunState.RUNNING and vp is self.current:
            # Nobody has started the VTL that it comes to.
            self.stop_turn()
        if vp is self.current and not self.halted and not self._resting:
            # The usual case, which a guest with a secure kernel makes all the time.
            self._engine.switch(there)
            self._engine.set_interrupt(there, self._pending(vp))
            if vp.interrupting_vtl() is not None:
                self.leave_block()
            return
        if vp in self.halted:
            # It rested in the VTL that it leaves, and will rest again when it comes back; but a
            # call that it waited in is issued again.
            if vp not in self._suspended:
                self._resting[vp, source] = vp in self._idle
            self._awake(vp)
        if vp is self.current:
            self._engine.switch(there)
        idle = self._resting.pop((vp, target), None)
        self._engine.set_interrupt(there, self._pending(vp))
        if idle is not None and not self._would_wake(vp):
            self._rest(vp)
            if idle:
                self._idle.add(vp)
            if vp is self.current:
                self.stop_turn()
        elif vp is self.current and vp.interrupting_vtl() is not None:
            self.leave_block()

    def protection_changed(self, vtl: int, pages: Sequence[int] | None) -> None:
        """Let the engine take over what a VTL may do with guest-physical pages."""
        self.memory_map.protection_changed(vtl, pages)
        if pages is None:
            for vp in self._partition.processors:
                self._execution_changed(vp)

    def intercepts_changed(self, vp: VirtualProcessor, vtl: int) -> None:
        """Let writes of the intercepted registers exit."""
        self._intercept_writes(vp, vtl)
        wanted = 0
        for other in self._partition.processors:
            for state in other.vtls.values():
                wanted |= state.intercepted
        trapped = {msr for bit, msr in _INTERCEPTED_MSRS if wanted >> bit & 1}
        for msr in {msr for _, msr in _INTERCEPTED_MSRS}:
            self._engine.trap_msr(msr, msr in trapped)

    def _intercept_writes(self, vp: VirtualProcessor, vtl: int, *, tables: bool = True) -> None:
        bits = vp.vtls[vtl].intercepted
        controls = (1 if bits & _CR0_WRITE else 0) | (1 << 4 if bits & _CR4_WRITE else 0)
        wanted = bits >> _FIRST_TABLE_WRITE & 0xF if tables else 0
        self._engine.intercept_writes(self.context(vp, vtl), controls, wanted)

    def let_table_loads_pass(self) -> None:
        """Let loads of descriptor tables no longer exit, until a higher VTL may have changed."""
        vp = self.current
        self._intercept_writes(vp, vp.active_vtl, tables=False)
        self._passing.add((vp, vp.active_vtl))

    def _intercept_again(self) -> None:
        for vp, vtl in self._passing:
            if vtl in vp.vtls:
                self._intercept_writes(vp, vtl)
        self._passing.clear()

    def inject_exception(
        self, vp: VirtualProcessor, vtl: int, vector: int, error_code: int | None, parameter: int
    ) -> None:
        """Raise an exception before the next instruction of a VTL of the VP."""
        number = self.context(vp, vtl)
        if vector == _PAGE_FAULT:
            self._engine.set_control(number, 2, parameter)
        elif vector == _DEBUG:
            self._engine.set_state(number, "dr6", parameter)
        self._engine.inject(number, vector, error_code or 0)

    def set_address_space(self, vp: VirtualProcessor, vtl: int, cr3: int) -> None:
        """Set CR3 without dropping a translation."""
        self._engine.set_control(self.context(vp, vtl), 3, cr3, flush=False)

    # --- others --------------------------------------------------------------------------------

    def nmi(self, vp: VirtualProcessor, vtl: int) -> None:
        """Assert the non-maskable interrupt of a VTL."""
        self._engine.set_nmi(self.context(vp, vtl))

    def read_register(self, vp: VirtualProcessor, vtl: int, name: int) -> int:
        """A register of the processor."""
        return self.registers.read(self.context(vp, vtl), name)

    def write_register(self, vp: VirtualProcessor, vtl: int, name: int, value: int) -> None:
        """Set a register of the processor."""
        self.registers.write(self.context(vp, vtl), name, value)

    def tsc_offset_changed(self, vp: VirtualProcessor, vtl: int) -> None:
        """Take over the offset of the time stamp counter."""
        self._engine.set_time_stamp_offset(self.context(vp, vtl), vp.vtls[vtl].tsc_offset)

    def run_time(self, vp: VirtualProcessor) -> int:
        """How long the processor has run, in nanoseconds."""
        so_far = self._run_time[vp.index]
        if vp is self.current:
            so_far += self._engine.time() - self._turn_started
        return so_far

    def deadline_changed(self) -> None:
        """Let the current turn end no later than the next deadline."""
        deadline = self._partition.timers.next_deadline()
        if deadline is not None and not self._engine.host_time:
            self._end_turn_at(self._count_at(deadline))

    def _count_at(self, time_ns: int) -> int:
        """The count of the engine at a virtual time, if no processor rests until then."""
        engine = self._engine
        return max(0, -(-(time_ns - engine.skew) // engine.factor))

    def reset(self) -> None:
        """The guest asked for a reset."""
        self.on_reset()

    def untouched_ranges(self) -> list[tuple[int, int]]:
        """The pages of RAM that nothing has written since the machine was made."""
        memory = self._partition.memory
        written = self._engine.written_pages()
        low = memory.size_below_4g // _PAGE
        high = (4 << 30) // _PAGE - low
        return [
            *page_runs(written, marked=False, last=low),
            *((page + high, count) for page, count in page_runs(written, marked=False, first=low)),
        ]

    def hint_memory(self, heat: HeatType, first_page: int, page_count: int) -> None:
        """Pass a hint about pages of RAM on to the host."""
        offset = self._partition.memory.ram_offset(first_page)
        assert offset is not None, "only RAM is hinted at"
        length = page_count * _PAGE
        if heat is HeatType.HOT:
            self._host_memory.warm(offset, length)
        elif heat is HeatType.COLD:
            self._host_memory.cool(offset, length)
        else:
            self._host_memory.discard(offset, length)
            # The code and the writability of these pages are found out anew.
            self._engine.forget_written(offset, length)
            for context in self._contexts.values():
                self._engine.flush(context)

    def crash(self, parameters: Sequence[int], message: bytes | None) -> None:
        """The guest says that it has crashed."""
        self.on_crash(parameters, message)
