"""A machine: a partition, the board around it and the engine that runs its processors."""

import contextlib
import hashlib
import math
import mmap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.given_registers import GivenRegisters
from hypercall.abi.outcome import Outcome
from hypercall.abi.record import CallRecord
from hypercall.abi.reply import Handler
from hypercall.calls import HANDLERS
from hypercall.cpu.interface import MODE_LONG
from hypercall.cpu.unicorn.engine import Engine
from hypercall.cpu.unicorn.memory_map import MemoryMap
from hypercall.errors import GuestMemoryError, InputError
from hypercall.faults.armed import ArmedFault
from hypercall.faults.fault import Fault
from hypercall.faults.injector import Faults
from hypercall.machine.board import DEVICE_PAGES, Board
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.debug_transport import DebugTransport, open_debug_transport
from hypercall.machine.debugging import Debugging
from hypercall.machine.devices.msi_test_device import MsiTestDevice
from hypercall.machine.devices.synic_test_device import SynicTestDevice
from hypercall.machine.entry_registers import load_entry
from hypercall.machine.exits import MachineExits
from hypercall.machine.fault_host import MachineFaultHost
from hypercall.machine.host_memory import HostMemory
from hypercall.machine.host_port import HostPort
from hypercall.machine.loader_memory import GuestLoaderMemory
from hypercall.machine.loaders import EntryState, load_image
from hypercall.machine.processors import Processors
from hypercall.machine.result import REASON_TEXTS, RunResult, StopReason
from hypercall.machine.turns import Turns
from hypercall.machine.vmbus import VmbusContactPoint
from hypercall.partition.clock import ReferenceClock
from hypercall.partition.debug_channel import DebugChannel
from hypercall.partition.memory import GuestMemory, Permission
from hypercall.partition.partition import ARENA_PAGES, Partition
from hypercall.partition.ports import MESSAGE_BUFFERS
from hypercall.partition.synic import EVENT_FLAGS_PER_SINT
from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.registers import RegisterName
from hypercall.trace.description import RunDescription
from hypercall.trace.events import (
    ConsoleEvent,
    HaltEvent,
    HypercallEvent,
    MachineEvent,
    MessageEvent,
    Position,
)
from hypercall.trace.hub import TraceHub
from hypercall.trace.kallsyms import find_kallsyms
from hypercall.trace.symbols import LazySymbols, SymbolTable, symbols_of_elf

if TYPE_CHECKING:
    from hypercall.checks.machine_checks import MachineChecks
    from hypercall.gdb.server import GdbServer
    from hypercall.snapshot.snapshot import Snapshot

_PAGE = 4096
# While one processor runs alone its turn ends only so that the user can be heard.
_LONG_TURN_NS = 20_000_000
# By the host's clock the end of a run is only looked for between turns.
_LONG_TURN_ON_HOST_NS = 1_000_000
_PANIC_GRACE_NS = 2_000_000_000
_STACK_POINTER = 4
# What the guest has not finished to say it says when it goes on.
_TO_BE_CONTINUED = (
    StopReason.UNTIL,
    StopReason.PAUSED,
    StopReason.DEBUGGER,
    StopReason.LIMIT,
)
_EXIT_KINDS = (
    "hypercalls",
    "msr_reads",
    "msr_writes",
    "cpuid",
    "port_reads",
    "port_writes",
    "mmio_reads",
    "mmio_writes",
    "halts",
    "pauses",
    "exceptions",
    "interrupts",
    "violations",
)

CallObserver = Callable[[HypercallEvent], None]


class Machine:
    """A machine that runs a guest.

    Args:
        configuration: what it is made of.

    Attributes:
        configuration: what it is made of.
        partition: the partition.
        processors: the virtual processors as the engine runs them.
        trace: where to subscribe to events.
        console: the first serial port.
        faults: the faults that are injected on purpose, and where to inject more.
        debugging: breakpoints, watchpoints and steps.
        between_turns: called between turns with the virtual time in nanoseconds; None for nothing.
        checks: what watches the guest for mistakes, or None before `check`.
        host_poll: called between turns with 0.0, and with the seconds of virtual time until the
            next timer when every processor is halted; it may take that long, and returns whether
            the guest got input meanwhile. None polls nothing.
        input_source: called between turns to give the guest what comes for it, beside
            `host_poll`; it returns whether virtual time has passed by it.
        on_host_wait: called with the nanoseconds of virtual time that are about to pass because
            a processor waited for the debugger that long.
        state_holders: objects whose state snapshots of the machine are to hold too, for instance
            what an observer has counted.
    """

    # Who watches and serves the machine stays when the machine goes back to a snapshot.
    not_state: ClassVar[tuple[str, ...]] = (
        *("between_turns", "checks", "configuration", "dispatcher", "host_poll"),
        *("input_source", "on_host_wait", "state_holders", "trace"),
        *("_arena", "_call_observers", "_debug_transport", "_engine", "_exits", "_handlers"),
        *("_interrupted", "_ram", "debugging"),
    )

    def __init__(self, configuration: MachineConfiguration | None = None) -> None:
        self.configuration = configuration or MachineConfiguration()
        partition_configuration = self.configuration.partition_configuration()
        self._ram = _allocate(partition_configuration.memory_size)
        self._arena = _allocate(ARENA_PAGES * _PAGE)
        vtl_count = partition_configuration.vtl_count
        memory = GuestMemory(
            memoryview(self._ram),
            memoryview(self._arena),
            address_bits=partition_configuration.address_bits,
            vtl_count=vtl_count,
        )
        self.trace = TraceHub()
        self.host_poll: Callable[[float], bool] | None = None
        self.input_source: Callable[[], bool] | None = None
        self.on_host_wait: Callable[[int], None] | None = None
        self.state_holders: list[object] = []
        self._engine = Engine(self._ram, self._arena)
        self._engine.spin_exits = len(partition_configuration.processors) > 1
        if self.configuration.time == "host":
            self._engine.use_host_time()
        self.processors = Processors(self._engine, HostMemory(self._ram))
        self.partition = Partition(
            partition_configuration,
            memory,
            self.processors,
            clock=ReferenceClock(self._engine.time),
        )
        memory_map = MemoryMap(self._engine, memory, DEVICE_PAGES, vtl_count)
        memory.listener = memory_map
        self.processors.attach(self.partition, memory_map)
        self._handlers = dict(HANDLERS)
        self.dispatcher = Dispatcher(
            self.partition, DECLARATIONS, self._handlers, now=self._engine.time
        )
        self._exits = MachineExits(self.partition, self.processors, self.dispatcher, self.trace)
        self._engine.attach(self._exits)
        self.board = Board(
            self.partition,
            self.configuration.date,
            power_off=lambda: self._stop(StopReason.POWER_OFF),
            reset=lambda: self._stop(StopReason.RESET),
            debug_exit=self._debug_exit,
        )
        self.console = self.board.console
        self._exits.attach(self._engine, self.board)
        self._exits.on_triple_fault = lambda: self._stop(StopReason.TRIPLE_FAULT)
        self.processors.external_interrupt = self.board.external_interrupt
        self.processors.on_wake = self._shorten_turn
        self.processors.on_rest = self._trace_rest
        self.partition.on_delivery = self._trace_delivery
        self.processors.on_reset = lambda: self._stop(StopReason.RESET)
        self.processors.on_crash = self._crash
        self.vmbus = VmbusContactPoint(self.partition)
        self.board.bus.add(SynicTestDevice(self.partition))
        self.board.bus.add(MsiTestDevice(self.partition))
        self._turns = Turns(self.partition.processors, self.configuration.seed)
        self._turn_is_long = False
        self._turn_unfinished = False
        self.debugging = Debugging(self._engine, self.processors)
        self._stop_reason: StopReason | None = None
        self._exit_code: int | None = None
        self._detail = ""
        self._interrupted = False
        self._paused = False
        self._debug_transport: DebugTransport | None = None
        self._panic_at: int | None = None
        self._entry: EntryState | None = None
        self._image: str | None = None
        self._append: str | None = None
        self._kernel_symbols = LazySymbols(self._find_symbols)
        self._call_site_hint: int | None = None
        self._call_observers: dict[int, list[CallObserver]] = {}
        self.faults = Faults(MachineFaultHost(self, self._engine, self._exits, self._call_site))
        self.checks: MachineChecks | None = None
        self.between_turns: Callable[[int], None] | None = None
        self.console.output.append(self._trace_console)

    # --- loading -------------------------------------------------------------------------------

    def load(
        self,
        image: Path | bytes,
        initrd: Path | bytes | None = None,
        append: str = "",
        *,
        entry: Literal["vmlinux", "decompressor"] = "vmlinux",
        image_format: Literal["auto", "flat"] = "auto",
    ) -> None:
        """Put an image into memory and the boot processor at its first instruction.

        Args:
            image: a path, or the image itself: bzImage, vmlinux, multiboot or plain ELF, or a
                flat binary.
            initrd: an initial RAM disk, a path or the bytes.
            append: the command line.
            entry: where a bzImage is entered (see ``hypercall.machine.loaders``).
            image_format: ``flat`` takes any bytes for a flat binary.

        Raises:
            InputError: a file cannot be read, is no image, or does not fit into memory.
        """
        memory = GuestLoaderMemory(
            self.partition.memory, self.board.acpi, _random_seed(self.configuration.seed)
        )
        state = load_image(
            _contents(image, "image"),
            str(image) if isinstance(image, Path) else "image",
            initrd=None if initrd is None else _contents(initrd, "initial RAM disk"),
            append=append,
            memory=memory,
            linux_entry=entry,
            image_format=image_format,
        )
        context = self.processors.context(self.partition.bootstrap)
        load_entry(self.processors.registers, context, state)
        self._entry = state
        self._image = image.name if isinstance(image, Path) else None
        self._append = append or None

    # --- running -------------------------------------------------------------------------------

    @property
    def time_ns(self) -> int:
        """The virtual time in nanoseconds since the machine was made."""
        return self._engine.time()

    def interrupt(self) -> None:
        """Let `run` return soon; may be called from a signal handler."""
        self._interrupted = True

    @property
    def interrupt_requested(self) -> bool:
        """Whether `interrupt` was called and `run` has not yet returned for it."""
        return self._interrupted

    def pause(self) -> None:
        """Let `run` return before the next block of code, with ``PAUSED``.

        For subscribers of events: the call or access that they were told of is done when `run`
        returns, and nothing after it.
        """
        self._paused = True
        self.processors.interrupt_turn()

    def run(
        self,
        limit_ns: int | None = None,
        *,
        until: Callable[[], bool] | None = None,
    ) -> RunResult:
        """Run until the guest ends, the limit is reached or a condition comes true.

        Args:
            limit_ns: the virtual time since the machine was made at which to stop.
            until: asked between turns, at least every 20 ms of virtual time.

        Returns:
            how the run ended; it can be called again unless the guest has ended.
        """
        if self._entry is None:
            raise InputError("nothing is loaded: call load() with an image first")
        self._stop_reason = None
        self._connect_observers()
        self.debugging.begin_run()
        started = time.monotonic()
        reason: StopReason | None = None
        try:
            while reason is None:
                reason = self._turn(limit_ns, until)
        finally:
            if reason not in _TO_BE_CONTINUED:
                self.console.flush()
            if self._debug_transport is not None:
                self._debug_transport.flush()
        if self.console.panic is not None and reason in (
            StopReason.RESET,
            StopReason.DEADLOCK,
            StopReason.TRIPLE_FAULT,
            StopReason.LIMIT,
        ):
            reason = StopReason.PANIC
        detail = self._detail or (self.console.panic or "")
        if reason not in _TO_BE_CONTINUED or reason is StopReason.LIMIT:
            self.emit(reason.name.lower().replace("_", "-"), detail or REASON_TEXTS[reason])
        return RunResult(
            reason,
            self._exit_code,
            self.time_ns,
            time.monotonic() - started,
            self._engine.count,
            self.exit_counts(),
            detail,
        )

    def _turn(self, limit_ns: int | None, until: Callable[[], bool] | None) -> StopReason | None:
        """Run one turn of one processor, or let the time pass in which all rest."""
        engine = self._engine
        partition = self.partition
        if self._stop_reason is not None:
            return self._stop_reason
        if self._interrupted:
            self._interrupted = False
            return StopReason.INTERRUPTED
        if self._paused:
            self._paused = False
            return StopReason.PAUSED
        if self.debugging.in_block:
            # Nothing may come between, or the run would not be what it is without a debugger.
            self.processors.continue_turn(limit_ns)
            return self._run_engine(limit_ns)
        now = engine.time()
        if self.between_turns is not None:
            self.between_turns(now)
        partition.timers.run_due(now)
        if self._stop_reason is not None:
            return self._stop_reason
        if limit_ns is not None and now >= limit_ns:
            return StopReason.LIMIT
        if until is not None and until():
            return StopReason.UNTIL
        processors = self.processors
        unfinished = self._turn_unfinished
        if not unfinished and self._panic_overdue(now):
            return StopReason.PANIC
        if self._take_inputs():
            return None
        runnable = processors.runnable()
        if unfinished and engine.count < processors.turn_end and processors.current in runnable:
            processors.continue_turn(limit_ns)
        elif not runnable:
            self._turn_unfinished = False
            return self._rest(now, limit_ns)
        else:
            self._turn_is_long = len(runnable) == 1
            vp = self._turns.next(runnable)
            processors.load(vp)
            alone = _LONG_TURN_ON_HOST_NS if engine.host_time else _LONG_TURN_NS
            length = alone if self._turn_is_long else self._turns.length()
            processors.begin_turn(length // engine.factor, limit_ns)
        return self._run_engine(limit_ns)

    def _take_inputs(self) -> bool:
        """Give the guest what has come for it, and return whether time passed by it."""
        if self.host_poll is not None:
            self.host_poll(0.0)
        if self._debug_transport is not None:
            self._debug_transport.poll()
        passed = self.input_source is not None and self.input_source()
        self.console.deliver()
        return passed

    def _run_engine(self, limit_ns: int | None) -> StopReason | None:
        engine, processors, debugging = self._engine, self.processors, self.debugging
        debugging.begin_turn(processors.current)
        engine.run()
        processors.end_turn()
        stopped = debugging.end_turn(processors.current)
        # A run in pieces is the same as one in one piece: who was interrupted goes on.
        self._turn_unfinished = engine.count < processors.turn_end and (
            stopped or self._paused or (limit_ns is not None and engine.time() >= limit_ns)
        )
        if not self._turn_unfinished and not debugging.in_block:
            self._turn_is_long = False
        return StopReason.DEBUGGER if stopped else None

    def _shorten_turn(self) -> None:
        """Another processor woke in a turn that is long because there was no other."""
        if self._turn_is_long:
            self._turn_is_long = False
            self.processors.shorten_turn(self._turns.length() // self._engine.factor)

    def _rest(self, now: int, limit_ns: int | None) -> StopReason | None:
        """Let the clock reach the next deadline, for no processor can run before."""
        deadline = self.partition.timers.next_deadline()
        wake = deadline if limit_ns is None or deadline is None else min(deadline, limit_ns)
        transport = self._debug_transport
        if (
            transport is not None
            and transport.receives
            and wake is not None
            and self.partition.debug_waits.latest_deadline > now
        ):
            if self._debugger_came(transport, now, wake):
                return None
        elif self.host_poll is not None:
            # Somebody listens: time passes as on a real machine.
            seconds = math.inf if wake is None else max(0, wake - now) / 1e9
            if self.host_poll(seconds):
                return None
            if wake is None:
                return None if self._interrupted else StopReason.DEADLOCK
        elif wake is None:
            return StopReason.DEADLOCK
        elif self._engine.host_time:
            time.sleep(max(0, wake - now) / 1e9)
        if not self._engine.host_time:
            self._engine.skew += max(0, wake - now)
        return None

    def _debugger_came(self, transport: DebugTransport, now: int, wake: int) -> bool:
        """Wait for the debugger while a processor waits for it."""
        started = time.monotonic_ns()
        came = transport.poll(max(0, wake - now) / 1e9)
        if came and not self._engine.host_time:
            waited = min(time.monotonic_ns() - started, max(0, wake - now))
            if self.on_host_wait is not None:
                self.on_host_wait(waited)
            self._engine.skew += waited
        return came

    def _panic_overdue(self, now: int) -> bool:
        # A kernel that panicked may still have something to say, or may reset the machine.
        if self.console.panic is None:
            return False
        if self._panic_at is None:
            self._panic_at = now
        return now >= self._panic_at + _PANIC_GRACE_NS

    def _stop(self, reason: StopReason) -> None:
        if self._stop_reason is None:
            self._stop_reason = reason
        self._engine.stop()

    def _debug_exit(self, value: int) -> None:
        self._exit_code = value
        self._stop(StopReason.DEBUG_EXIT)

    def _crash(self, parameters: Sequence[int], message: bytes | None) -> None:
        values = ", ".join(f"{parameter:#x}" for parameter in parameters)
        self._detail = f"the guest reported a crash ({values})"
        lines = (message or b"").decode("utf-8", "replace").splitlines()
        said = [line.strip() for line in lines if "panic" in line.lower()]
        if said:
            self._detail += f": {said[-1]}"
        self._stop(StopReason.PANIC)

    # --- snapshots -----------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine that runs the processors."""
        return self._engine

    @property
    def arena_size(self) -> int:
        """The size in bytes of the memory for overlay pages."""
        return len(self._arena)

    def state_roots(self) -> list[object]:
        """The objects from which all state of the machine that lies in objects can be found."""
        return [self, *self.state_holders]

    def snapshot(self) -> "Snapshot":
        """Keep the state of the machine, in memory, to go back to it with `restore`.

        Between runs only. The run that follows is the same as without.

        Raises:
            InputError: the machine counts time by the host's clock.
            HypercallError: the host cannot hold a copy of the memory.
        """
        # Not at the top: few runs need it.
        from hypercall.snapshot.snapshot import Snapshot

        return Snapshot(self)

    @classmethod
    def from_snapshot(cls, path: Path) -> Self:
        """Make a machine in the state of a snapshot in a file (`Snapshot.save`).

        Raises:
            InputError: it is no snapshot, damaged, or of another version.
        """
        # Not at the top: few runs need it.
        from hypercall.snapshot.snapshot_file import load_machine

        machine = load_machine(path, cls)
        assert isinstance(machine, cls)
        machine.faults.settle()
        return machine

    def restore(self, snapshot: "Snapshot") -> None:
        """Go back to the state of a snapshot of this machine.

        What happens from there on is what happened the first time, unless somebody interferes.
        Observers, console outputs and handlers stay as they are; the faults are those that were
        armed then.

        Raises:
            InputError: it is another machine's.
            HypercallError: the snapshot was closed.
        """
        if snapshot.machine is not self:
            raise InputError(
                "the snapshot is another machine's: save it, and make a machine from the file"
            )
        snapshot.restore()
        self.faults.settle()
        self.debugging.settle()

    # --- looking -------------------------------------------------------------------------------

    def read_virtual(self, vp: VirtualProcessor, address: int, length: int) -> bytes:
        """Read guest-virtual memory by a processor's own page tables.

        Raises:
            GuestMemoryError: an address is not mapped.
        """
        context = self.processors.context(vp)
        parts = []
        while length > 0:
            gpa = self._engine.translate(context, address)
            if gpa is None:
                raise GuestMemoryError(address, "read")
            size = min(length, _PAGE - address % _PAGE)
            parts.append(self.partition.memory.read(gpa, size, vp.active_vtl))
            address += size
            length -= size
        return b"".join(parts)

    def symbol(self, address: int) -> str | None:
        """The guest's name for a guest-virtual address, as ``name+0x1a``, or None."""
        return self._kernel_symbols.lookup(address)

    def symbol_table(self) -> SymbolTable | None:
        """The guest's names with their addresses, or None if there are none (yet)."""
        return self._kernel_symbols.table()

    def _find_symbols(self) -> SymbolTable | None:
        entry = self._entry
        if entry is not None and entry.symbols is not None:
            with contextlib.suppress(InputError):
                return symbols_of_elf(entry.symbols).moved(entry.symbol_slide)
        return find_kallsyms(self.partition.memory.ram, self._call_site_hint)

    def exit_counts(self) -> dict[str, int]:
        """How often each kind of exit came since the machine was made."""
        counters = self._engine.counters()
        return {name: counters[name] for name in _EXIT_KINDS}

    def registers(self, vp_index: int = 0) -> dict[str, int]:
        """The general and control registers of a virtual processor, by their names.

        Raises:
            InputError: there is no such virtual processor.
        """
        context = self.processors.context(self.vp(vp_index))
        names = [*(RegisterName(RegisterName.RAX + number) for number in range(16))]
        names += [RegisterName.RIP, RegisterName.RFLAGS, RegisterName.CR0, RegisterName.CR2]
        names += [RegisterName.CR3, RegisterName.CR4, RegisterName.EFER]
        return {name.name.lower(): self.processors.registers.read(context, name) for name in names}

    def write_register(self, vp_index: int, name: RegisterName, value: int) -> None:
        """Set a register of a virtual processor, between runs.

        Raises:
            InputError: there is no such virtual processor, or it has no such register.
        """
        context = self.processors.context(self.vp(vp_index))
        try:
            self.processors.registers.write(context, name, value)
        except KeyError:
            raise InputError(
                f"{name.name} is not a register of the processor: "
                "use the partition's MSRs and registers for the others"
            ) from None

    def vp(self, index: int) -> VirtualProcessor:
        """The virtual processor of a VP index.

        Raises:
            InputError: there is no such virtual processor.
        """
        vp = self.partition.by_index.get(index)
        if vp is None:
            raise InputError(
                f"there is no virtual processor {index}: give an index below "
                f"{len(self.partition.processors)}"
            )
        return vp

    def connect_debugger(self, place: str) -> DebugTransport:
        """Carry the debug channel to the host, in place of where it was carried before.

        While a processor waits for the debugger and no other runs, time passes as on the host.

        Args:
            place: ``tcp:PORT``, ``tcp:HOST:PORT`` or ``unix:PATH`` to listen there, or
                ``file:PATH`` for what the guest posts.

        Returns:
            What carries it, to be closed when the machine is no longer needed.

        Raises:
            InputError: the place means nothing, or cannot be had.
        """
        if self._debug_transport is not None:
            self._debug_transport.close()
            self._debug_transport = None
        self._debug_transport = open_debug_transport(place, self.debug_channel)
        return self._debug_transport

    def serve_gdb(self, place: str) -> "GdbServer":
        """Let a real gdb debug the guest that is loaded: ``serve_gdb(":1234").run()``.

        Args:
            place: ``:PORT`` (the loopback interface; 0 for any that is free), ``HOST:PORT`` or
                ``unix:PATH``.

        Returns:
            The server, which runs the machine in place of `run`; to be closed afterwards.

        Raises:
            InputError: the place means nothing, or cannot be had.
        """
        # Not at the top: it is made of machines, and few runs have a debugger.
        from hypercall.gdb.server import GdbServer

        return GdbServer(self, place)

    @property
    def debug_channel(self) -> DebugChannel:
        """The debugger's end of the channel that the guest's debug calls use."""
        return self.partition.debug_channel

    def port(
        self,
        connection_id: int,
        kind: Literal["messages", "events"] = "messages",
        *,
        sint: int | None = None,
        vp_index: int = 0,
        vtl: int = 0,
        minimum_vtl: int = 0,
        buffers: int = MESSAGE_BUFFERS,
        flag_count: int = EVENT_FLAGS_PER_SINT,
    ) -> HostPort:
        """Give the guest a port that Python code holds, and a way back into its SynIC.

        What the guest posts (HvCallPostMessage) or signals (HvCallSignalEvent) through the
        connection waits in the port, or goes to a function that `HostPort.on_message` or
        `HostPort.on_event` decorates.

        Args:
            connection_id: by which the guest names it, of at most 24 bits.
            kind: what it takes from the guest; the other call gets INVALID_PORT_ID.
            sint: the synthetic interrupt source, 0 to 15, to which Python posts and signals; None
                for a port without a way back.
            vp_index: the virtual processor that has it.
            vtl: the VTL whose SynIC it is.
            minimum_vtl: the lowest VTL that may use the connection; others get OPERATION_DENIED.
            buffers: how many messages wait before the guest gets INSUFFICIENT_BUFFERS.
            flag_count: how many event flags the port has, for those of the guest and of Python.

        Raises:
            InputError: the connection id is taken, or an argument is out of range.
        """
        return HostPort(
            self.partition,
            connection_id,
            kind,
            sint=sint,
            vp_index=vp_index,
            vtl=vtl,
            minimum_vtl=minimum_vtl,
            buffers=buffers,
            flag_count=flag_count,
        )

    def evict(self, gpa: int) -> None:
        """Take the page at a guest-physical address out of the guest's memory, as a host may.

        Guest code that touches it gets an enlightened page fault if it has set those up
        (HvExtCallEpfSetup), and otherwise waits until the page is in again.

        Raises:
            InputError: there is no RAM.
        """
        if not self.partition.memory.is_ram(gpa // _PAGE):
            raise InputError(f"there is no RAM at {gpa:#x}: give an address in the guest's memory")
        self.partition.page_faults.evict(gpa // _PAGE)

    def restrict(self, gpa: int, length: int, permissions: Permission) -> None:
        """Set what the host's own mapping lets the guest do with pages, as read-only memory has.

        Guest code that does something else gets #GP, in every VTL.

        Args:
            gpa: the guest-physical address of the first page.
            length: in bytes; every page that it touches is meant.
            permissions: what stays allowed.

        Raises:
            InputError: a page is no RAM.
        """
        pages = range(gpa // _PAGE, (gpa + length + _PAGE - 1) // _PAGE)
        for page in pages:
            if not self.partition.memory.is_ram(page):
                raise InputError(
                    f"there is no RAM at {page * _PAGE:#x}: give addresses in the guest's memory"
                )
        for page in pages:
            self.partition.memory.restrict(page, permissions)

    def call(
        self,
        control: int,
        rdx: int = 0,
        r8: int = 0,
        *,
        vp_index: int = 0,
        registers: GivenRegisters | None = None,
    ) -> Outcome:
        """Make a call as if a virtual processor had made it, with its effect on the guest.

        Args:
            control: RCX, or EDX:EAX of a 32-bit caller.
            rdx: RDX, or EBX:ECX.
            r8: R8, or EDI:ESI.
            vp_index: the caller.
            registers: mode and XMM registers; by default 64-bit kernel code.

        Raises:
            InputError: there is no such virtual processor.
        """
        return self.dispatcher.dispatch(
            self.vp(vp_index), control, rdx, r8, registers or GivenRegisters()
        )

    def inject(self, fault: str | Fault) -> ArmedFault:
        """Inject a fault, so that the guest meets what seldom happens.

        Args:
            fault: its text, as ``"call=PostMessage,nth=3,status=INSUFFICIENT_BUFFERS"``
                (``hypercall faults`` explains it), or one of ``hypercall.faults.fault``.

        Returns:
            The armed fault; as a context manager it is disarmed at the end.

        Raises:
            InputError: the text means nothing, or the machine has nothing that it names.
        """
        return self.faults.inject(fault)

    def describe(self) -> RunDescription:
        """What a trace tells of the run as a whole."""
        configuration, partition = self.configuration, self.partition.configuration
        nested = partition.nested_features
        return RunDescription(
            source="hypercall",
            image=self._image,
            append=self._append,
            cpus=configuration.cpus,
            memory=configuration.memory,
            seed=configuration.seed,
            like=configuration.like,
            privileges=int(partition.privileges),
            features=int(partition.features),
            recommendations=int(partition.recommendations),
            nested_features=None if nested is None else int(nested),
            extended_capabilities=int(partition.extended_capabilities),
        )

    # --- observing -----------------------------------------------------------------------------

    def check(self, *, stale: bool = False) -> "MachineChecks":
        """Watch the guest by the rules of ``hypercall.checks`` from now on.

        Args:
            stale: whether to look for uses of translations that the guest should have flushed
                too, which makes the run slower.

        Returns:
            what watches, with the findings; the same one each time, also as ``checks``.
        """
        if self.checks is None:
            # Not at the top: most machines are not watched.
            from hypercall.checks.machine_checks import MachineChecks

            self.checks = MachineChecks(self, self._engine, self._exits)
        if stale:
            self.checks.watch_translations()
        return self.checks

    def emit(self, kind: str, text: str) -> None:
        """Tell the subscribers something about the machine as a whole."""
        if self.trace.wants(MachineEvent):
            self.trace.emit(MachineEvent(self._exits.position(), kind, text))

    def on(self, call: Call) -> Callable[[CallObserver], CallObserver]:
        """Decorate a function to be called with each `HypercallEvent` of a call.

        Args:
            call: the call to observe.
        """

        def register(observer: CallObserver) -> CallObserver:
            self._call_observers.setdefault(int(call), []).append(observer)
            return observer

        return register

    def handle(self, call: Call) -> Callable[[Handler], Handler]:
        """Decorate a function to serve a call on this machine in place of its own handler.

        Args:
            call: the call. The function gets the virtual processor and the fields of the input in
                their order, and returns an `HvStatus`, or what else ``hypercall.abi.reply`` allows;
                ``HANDLERS[call]`` of ``hypercall.calls`` is the one that it replaces.
        """

        def register(handler: Handler) -> Handler:
            self._handlers[int(call)] = handler
            self.dispatcher.forget_plans()
            return handler

        return register

    def remember_users(self) -> Callable[[], None]:
        """Note who watches and serves the machine; the function returned goes back to that.

        It is what `restore` leaves as it is: subscribers, observers, handlers, console outputs,
        the poll, breakpoints and watchpoints.
        """
        subscribers = self.trace.remember()
        observers = {code: list(each) for code, each in self._call_observers.items()}
        handlers, outputs = dict(self._handlers), list(self.console.output)
        poll, holders, debugging = self.host_poll, list(self.state_holders), self.debugging
        breakpoints, watchpoints = debugging.breakpoints, debugging.watchpoints

        def go_back() -> None:
            subscribers()
            self._call_observers = {code: list(each) for code, each in observers.items()}
            if self._handlers != handlers:
                self._handlers.clear()
                self._handlers.update(handlers)
                self.dispatcher.forget_plans()
            self.console.output[:] = outputs
            self.host_poll = poll
            self.state_holders[:] = holders
            debugging.breakpoints, debugging.watchpoints = breakpoints, watchpoints

        return go_back

    def _connect_observers(self) -> None:
        wanted = self._call_observers or self.trace.wants(HypercallEvent)
        self.dispatcher.observer = self._called if wanted else None

    def _called(self, record: CallRecord) -> None:
        position = self._exits.position(self._call_site())
        position.time_ns = record.entered_at
        event = HypercallEvent(position, record)
        self.trace.emit(event)
        if record.declaration is not None:
            for observer in self._call_observers.get(record.declaration.code, ()):
                observer(event)

    def _call_site(self) -> int | None:
        """The return address of the caller of the hypercall page; None outside that page."""
        vp = self.processors.current
        context = self.processors.context(vp)
        rip = self._engine.get_rip(context)
        gpa = self._engine.translate(context, rip)
        page = self.partition.vtls[vp.active_vtl].hypercall_page.page
        if gpa is None or page is None or gpa // _PAGE != page:
            return None
        width = 8 if self._engine.get_mode(context) & MODE_LONG else 4
        stack = self._engine.get_general(context, _STACK_POINTER)
        try:
            site = int.from_bytes(self.read_virtual(vp, stack, width), "little")
        except GuestMemoryError:
            return None
        if self._call_site_hint is None:
            self._call_site_hint = site
        return site

    def _trace_rest(self, vp: VirtualProcessor, rests: bool) -> None:
        if self.trace.wants(HaltEvent):
            rip = self._engine.get_rip(self.processors.context(vp))
            position = Position(self.time_ns, vp.index, vp.active_vtl, rip)
            self.trace.emit(HaltEvent(position, rests))

    def _trace_delivery(
        self, owner: VirtualProcessorVtl, sint: int, vector: int | None, message_type: int | None
    ) -> None:
        if self.trace.wants(MessageEvent):
            position = self._exits.position()
            index = owner.vp.index
            self.trace.emit(MessageEvent(position, index, owner.vtl, sint, vector, message_type))

    def _trace_console(self, data: bytes) -> None:
        if self.trace.wants(ConsoleEvent):
            self.trace.emit(ConsoleEvent(self._exits.position(), data))


def _allocate(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise InputError(
            f"the host cannot give {size} bytes of memory ({error.strerror}): ask for less"
        ) from None


def _random_seed(seed: int) -> bytes:
    return hashlib.sha256(f"random numbers of the guest with seed {seed}".encode()).digest()


def _contents(source: Path | bytes, what: str) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except OSError as error:
        raise InputError(
            f"{source}: the {what} cannot be read ({error.strerror}); check the path"
        ) from None
