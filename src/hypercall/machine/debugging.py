"""Stops of a machine for a debugger: breakpoints, watchpoints, steps and positions.

A run that is stopped and continued is the same as an unbroken one, to the last event.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from hypercall.cpu.interface import MODE_LONG
from hypercall.cpu.unicorn.engine import Engine
from hypercall.errors import InputError
from hypercall.machine.processors import Processors
from hypercall.partition.virtual_processor import VirtualProcessor

_CODE_SEGMENT = 1
_LOW = 0xFFFF_FFFF
_ADDRESSES = 1 << 64

MOST_WATCHPOINTS = 32
"""How many watchpoints there can be at a time."""
MOST_BREAKPOINTS = 4096
"""How many breakpoints there can be at a time."""

Position = tuple[int, int]
"""Where a run is, in the order of execution: the engine's count with the block that the stop is
in, and the linear address of the next instruction; between blocks that is 2**64."""


class StopKind(IntEnum):
    """What a debugger stopped the run for."""

    BREAKPOINT = 1
    STEP = 2
    WATCHPOINT = 3
    TARGET = 4


class Access(IntFlag):
    """The accesses that a watchpoint looks for."""

    READ = 1
    WRITE = 2


_NO_ACCESS = Access(0)


@dataclass(frozen=True, slots=True)
class Watchpoint:
    """Data to be watched.

    Attributes:
        address: the linear address of the first byte.
        length: the number of bytes.
        access: the accesses looked for.
    """

    address: int
    length: int
    access: Access


@dataclass(frozen=True, slots=True)
class DebugStop:
    """A stop for a debugger.

    Attributes:
        kind: what for.
        vp: the virtual processor that was running. Its instruction pointer is at the next
            instruction.
        address: the linear address of the data, for a watchpoint.
        access: what the watchpoint looks for.
    """

    kind: StopKind
    vp: VirtualProcessor
    address: int = 0
    access: Access = _NO_ACCESS


class Debugging:
    """What a machine is to stop for.

    Args:
        engine: the engine.
        processors: the virtual processors.

    Attributes:
        engine: the engine, for what a debugger wants to see of its contexts.
        stop: the stop that ended the last run, or None.
    """

    def __init__(self, engine: Engine, processors: Processors) -> None:
        self.engine = engine
        self._processors = processors
        self.stop: DebugStop | None = None
        self._breakpoints: frozenset[int] = frozenset()
        self._watchpoints: tuple[Watchpoint, ...] = ()
        self._stepping: VirtualProcessor | None = None
        self._range = (0, 0)
        self._step_begins = False

    # --- what to stop for --------------------------------------------------------------------

    @property
    def breakpoints(self) -> frozenset[int]:
        """The linear addresses before whose instructions a run stops."""
        return self._breakpoints

    @breakpoints.setter
    def breakpoints(self, addresses: Iterable[int]) -> None:
        wanted = frozenset(addresses)
        if len(wanted) > MOST_BREAKPOINTS or any(not 0 <= at < _ADDRESSES for at in wanted):
            raise InputError(
                f"a breakpoint has an address below 2**64, and there are {MOST_BREAKPOINTS} at most"
            )
        if wanted != self._breakpoints:
            self._breakpoints = wanted
            self.engine.set_breakpoints(wanted)

    @property
    def watchpoints(self) -> tuple[Watchpoint, ...]:
        """The data behind whose accesses a run stops."""
        return self._watchpoints

    @watchpoints.setter
    def watchpoints(self, watchpoints: Iterable[Watchpoint]) -> None:
        wanted = tuple(watchpoints)
        for watchpoint in wanted:
            end = watchpoint.address + watchpoint.length
            if watchpoint.length < 1 or watchpoint.address < 0 or end > _ADDRESSES:
                raise InputError(f"{watchpoint} is no range of addresses")
        if len(wanted) > MOST_WATCHPOINTS:
            raise InputError(f"there are {MOST_WATCHPOINTS} watchpoints at most")
        if wanted != self._watchpoints:
            self._watchpoints = wanted
            self._set_watchpoints()

    def step(self, vp: VirtualProcessor, first: int = 0, end: int = 0) -> None:
        """Let the next run stop behind the next instruction of a processor.

        The other processors run as they would, and have their turns before if it is theirs.

        Args:
            vp: the processor.
            first: with ``end``, linear addresses of code: it stops when it has left that.
            end: where that code ends.
        """
        self._stepping = vp
        self._range = (first, end)
        self._step_begins = True

    def run_to(self, target: Position | None) -> None:
        """Let runs stop before the instruction at a position; None for at none."""
        self.engine.set_target(target)

    # --- where it is -------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        """Where the run is."""
        return self.engine.position

    @property
    def in_block(self) -> bool:
        """Whether the run was stopped in the middle of what it otherwise does in one go."""
        return self.engine.position[1] != _ADDRESSES

    def linear_pc(self, vp: VirtualProcessor) -> int:
        """The linear address of a processor's next instruction."""
        context = self._processors.context(vp)
        rip = self.engine.get_rip(context)
        if self.engine.get_mode(context) & MODE_LONG:
            return rip
        return (rip + self.engine.get_segment(context, _CODE_SEGMENT)[1]) & _LOW

    # --- the machine's side ------------------------------------------------------------------

    def begin_run(self) -> None:
        """A run of the machine begins."""
        self.stop = None

    def begin_turn(self, vp: VirtualProcessor) -> None:
        """The engine is about to run a processor."""
        engine = self.engine
        stepping = vp is self._stepping
        engine.set_step(stepping, *self._range)
        if stepping and self._step_begins:
            self._step_begins = False
            engine.begin_step()
            engine.pass_instruction(self.linear_pc(vp))
        else:
            engine.pass_instruction(self.linear_pc(vp) if self.in_block else None)

    def end_turn(self, vp: VirtualProcessor) -> bool:
        """The engine has returned; return whether it was for a debugger."""
        stop = self.engine.debug_stop
        if stop is None:
            return False
        kind, address, access = stop
        self.stop = DebugStop(StopKind(kind), vp, address, Access(access))
        self._stepping = None
        return True

    def settle(self) -> None:
        """The machine has gone back to a snapshot, which has nothing of a debugger."""
        self.stop = None
        self.give_up_step()
        self._set_watchpoints()

    def _set_watchpoints(self) -> None:
        self.engine.set_watchpoints(
            [(item.address, item.length, int(item.access)) for item in self._watchpoints]
        )

    def give_up_step(self) -> None:
        """Forget a step that has not come to its end."""
        self._stepping = None
        self.engine.set_step(False)
