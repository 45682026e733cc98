"""A partition, the board around it and the engine that runs its processors: a machine."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

from hypercall.abi.given_registers import GivenRegisters
from hypercall.abi.outcome import Outcome
from hypercall.abi.reply import Handler
from hypercall.cpu.unicorn.engine import Engine
from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.debug_transport import DebugTransport, open_debug_transport
from hypercall.machine.debugging import Debugging
from hypercall.machine.entry_registers import load_entry
from hypercall.machine.guest_view import GuestView
from hypercall.machine.host_port import HostPort
from hypercall.machine.loader_memory import GuestLoaderMemory
from hypercall.machine.loaders import load_image
from hypercall.machine.observation import CallObserver, Observation
from hypercall.machine.parts import MachineParts
from hypercall.machine.result import (
    REASON_TEXTS,
    TO_BE_CONTINUED,
    RunResult,
    StopReason,
    exit_counts,
)
from hypercall.machine.run_loop import RunLoop
from hypercall.machine.turns import Turns
from hypercall.partition.debug_channel import DebugChannel
from hypercall.partition.memory import Permission
from hypercall.partition.ports import MESSAGE_BUFFERS
from hypercall.partition.synic import EVENT_FLAGS_PER_SINT
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import Call
from hypercall.tlfs.registers import RegisterName
from hypercall.trace.description import RunDescription
from hypercall.trace.hub import TraceHub
from hypercall.trace.symbols import SymbolTable

_PAGE = 4096


class GuestMachine:
    """A machine and its guest, with nothing of the rooms that build on it.

    Users have a `hypercall.Machine`, which is one, and joins those rooms to it.

    Args:
        configuration: what it is made of.

    Attributes:
        configuration: what it is made of.
        partition: the partition.
        processors: the virtual processors as the engine runs them.
        trace: where to subscribe to events.
        console: the first serial port.
        debugging: breakpoints, watchpoints and steps.
        between_turns: called between turns with the virtual time in nanoseconds, and not where a
            run was stopped in the middle of one; None for nothing.
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
        *("between_turns", "configuration", "dispatcher", "host_poll"),
        *("input_source", "on_host_wait", "state_holders", "trace"),
        *("_arena", "_engine", "_exits", "_handlers", "debugging"),
    )

    def __init__(self, configuration: MachineConfiguration | None = None) -> None:
        self.configuration = configuration or MachineConfiguration()
        self.trace = TraceHub()
        self.between_turns: Callable[[int], None] | None = None
        self.host_poll: Callable[[float], bool] | None = None
        self.input_source: Callable[[], bool] | None = None
        self.on_host_wait: Callable[[int], None] | None = None
        self.state_holders: list[object] = []
        parts = MachineParts(self.configuration, self.trace)
        self._engine = parts.engine
        self._arena = parts.arena
        self._exits = parts.exits
        self._handlers = parts.handlers
        self.processors = parts.processors
        self.partition = parts.partition
        self.dispatcher = parts.dispatcher
        self.board = parts.board
        self.console = parts.board.console
        self.vmbus = parts.vmbus
        self.debugging = Debugging(parts.engine, parts.processors)
        self._loop = RunLoop(
            self,
            engine=parts.engine,
            processors=parts.processors,
            partition=parts.partition,
            console=self.console,
            debugging=self.debugging,
            end=parts.end,
            turns=Turns(parts.partition.processors, self.configuration.seed),
        )
        self._view = GuestView(parts.engine, parts.processors, parts.partition)
        self._observation = Observation(
            self.trace,
            parts.exits,
            parts.dispatcher,
            parts.engine,
            parts.processors,
            parts.partition,
            self.console,
            self._view,
        )
        self._image: str | None = None
        self._append: str | None = None

    # --- loading -------------------------------------------------------------------------------

    def load(
        self,
        image: Path | bytes,
        initrd: Path | bytes | None = None,
        append: str = "",
        *,
        entry: Literal["vmlinux", "decompressor"] = "vmlinux",
        image_format: Literal["auto", "flat"] = "auto",
        name: str | None = None,
    ) -> None:
        """Put an image into memory and the boot processor at its first instruction.

        Args:
            image: a path, or the image itself: bzImage, vmlinux, multiboot or plain ELF, or a
                flat binary.
            initrd: an initial RAM disk, a path or the bytes.
            append: the command line.
            entry: where a bzImage is entered (see ``hypercall.machine.loaders``).
            image_format: ``flat`` takes any bytes for a flat binary.
            name: what to call an image that is not a path.

        Raises:
            InputError: a file cannot be read, is no image, or does not fit into memory.
        """
        memory = GuestLoaderMemory(
            self.partition.memory, self.board.acpi, _random_seed(self.configuration.seed)
        )
        state = load_image(
            _contents(image, "image"),
            str(image) if isinstance(image, Path) else name or "image",
            initrd=None if initrd is None else _contents(initrd, "initial RAM disk"),
            append=append,
            memory=memory,
            linux_entry=entry,
            image_format=image_format,
        )
        context = self.processors.context(self.partition.bootstrap)
        load_entry(self.processors.registers, context, state)
        self.board.pass_external_interrupts()
        self._view.entry = state
        self._image = image.name if isinstance(image, Path) else name
        self._append = append or None

    # --- running -------------------------------------------------------------------------------

    @property
    def time_ns(self) -> int:
        """The virtual time in nanoseconds since the machine was made."""
        return self._engine.time()

    def interrupt(self) -> None:
        """Let `run` return soon; may be called from a signal handler."""
        self._loop.interrupted = True

    @property
    def interrupt_requested(self) -> bool:
        """Whether `interrupt` was called and `run` has not yet returned for it."""
        return self._loop.interrupted

    def pause(self) -> None:
        """Let `run` return before the next block of code, with ``PAUSED``.

        For subscribers of events: the call or access that they were told of is done when `run`
        returns, and nothing after it.
        """
        self._loop.pause()

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
        if self._view.entry is None:
            raise InputError("nothing is loaded: call load() with an image first")
        self._observation.connect()
        result = self._loop.run(limit_ns, until)
        reason = result.reason
        if reason not in TO_BE_CONTINUED or reason is StopReason.LIMIT:
            self.emit(reason.name.lower().replace("_", "-"), result.detail or REASON_TEXTS[reason])
        return result

    # --- its state -----------------------------------------------------------------------------

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

    def settle(self, roots: list[object]) -> None:
        """Go on from a snapshot that the machine has gone back to.

        Args:
            roots: what `state_roots` returned when it was taken.
        """
        self.debugging.settle()

    # --- looking -------------------------------------------------------------------------------

    def read_virtual(self, vp: VirtualProcessor, address: int, length: int) -> bytes:
        """Read guest-virtual memory by a processor's own page tables.

        Raises:
            GuestMemoryError: an address is not mapped.
        """
        return self._view.read_virtual(vp, address, length)

    def symbol(self, address: int) -> str | None:
        """The guest's name for a guest-virtual address, or None.

        It is ``name+0x1a``, and ``name+0x1a [module]`` for code in a module of Linux. A place that
        calls came from has the name that it had when the last call was made from it that somebody
        observed: a module's code may be gone when a run is over.
        """
        return self._view.names.lookup(address)

    def symbol_table(self) -> SymbolTable | None:
        """The guest's names with their addresses, or None if there are none (yet)."""
        return self._view.names.table()

    def modules(self) -> list[tuple[str, SymbolTable]]:
        """The modules of a Linux kernel that are loaded now, each with its functions' addresses."""
        return self._view.names.modules()

    def exit_counts(self) -> dict[str, int]:
        """How often each kind of exit came since the machine was made."""
        return exit_counts(self._engine)

    def registers(self, vp_index: int = 0) -> dict[str, int]:
        """The general and control registers of a virtual processor, by their names.

        Raises:
            InputError: there is no such virtual processor.
        """
        return self._view.read_registers(vp_index)

    def write_register(self, vp_index: int, name: RegisterName, value: int) -> None:
        """Set a register of a virtual processor, between runs.

        Raises:
            InputError: there is no such virtual processor, or it has no such register.
        """
        self._view.write_register(vp_index, name, value)

    def vp(self, index: int) -> VirtualProcessor:
        """The virtual processor of a VP index.

        Raises:
            InputError: there is no such virtual processor.
        """
        return self.partition.vp(index)

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
        loop = self._loop
        if loop.transport is not None:
            loop.transport.close()
            loop.transport = None
        loop.transport = open_debug_transport(place, self.debug_channel)
        return loop.transport

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

    def emit(self, kind: str, text: str) -> None:
        """Tell the subscribers something about the machine as a whole."""
        self._observation.emit(kind, text)

    def on(self, call: Call) -> Callable[[CallObserver], CallObserver]:
        """Decorate a function to be called with each `HypercallEvent` of a call.

        Args:
            call: the call to observe.
        """

        def register(observer: CallObserver) -> CallObserver:
            self._observation.call_observers.setdefault(int(call), []).append(observer)
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
