"""The run loop: turns of the processors, and the time that passes while all of them rest."""

import math
import time
from collections.abc import Callable
from typing import ClassVar, Protocol

from hypercall.cpu.unicorn.engine import Engine
from hypercall.machine.console import Console
from hypercall.machine.debug_transport import DebugTransport
from hypercall.machine.debugging import Debugging
from hypercall.machine.processors import Processors
from hypercall.machine.result import TO_BE_CONTINUED, RunResult, StopReason, exit_counts
from hypercall.machine.run_end import RunEnd
from hypercall.machine.turns import Turns
from hypercall.partition.partition import Partition

# While one processor runs alone its turn ends only so that the user can be heard.
_LONG_TURN_NS = 20_000_000
# By the host's clock the end of a run is only looked for between turns.
_LONG_TURN_ON_HOST_NS = 1_000_000
_ENDS_OF_A_PANIC = (
    StopReason.RESET,
    StopReason.DEADLOCK,
    StopReason.TRIPLE_FAULT,
    StopReason.LIMIT,
)


class RunHooks(Protocol):
    """What the user of a machine wants to be called while it runs; None for nothing.

    Attributes:
        between_turns: called between turns with the virtual time in nanoseconds, and not where a
            run was stopped in the middle of one.
        host_poll: called between turns with 0.0, and with the seconds of virtual time until the
            next timer when every processor is halted; it may take that long, and returns whether
            the guest got input meanwhile.
        input_source: called between turns to give the guest what comes for it, beside
            `host_poll`; it returns whether virtual time has passed by it.
        on_host_wait: called with the nanoseconds of virtual time that are about to pass because
            a processor waited for the debugger that long.
    """

    between_turns: Callable[[int], None] | None
    host_poll: Callable[[float], bool] | None
    input_source: Callable[[], bool] | None
    on_host_wait: Callable[[int], None] | None


class RunLoop:
    """Runs the processors of a machine in turn.

    Args:
        hooks: what the user wants to be called.
        engine: the engine.
        processors: the virtual processors as the engine runs them.
        partition: the partition.
        console: the first serial port.
        debugging: breakpoints, watchpoints and steps.
        end: what ends a run from within the guest.
        turns: whose turn it is.

    Attributes:
        transport: what carries the debug channel to the host, or None.
        interrupted: whether the run is to end as soon as its turn is over.
    """

    not_state: ClassVar[tuple[str, ...]] = ("_debugging", "_hooks", "interrupted", "transport")

    def __init__(
        self,
        hooks: RunHooks,
        *,
        engine: Engine,
        processors: Processors,
        partition: Partition,
        console: Console,
        debugging: Debugging,
        end: RunEnd,
        turns: Turns,
    ) -> None:
        self._hooks = hooks
        self._engine = engine
        self._processors = processors
        self._partition = partition
        self._console = console
        self._debugging = debugging
        self._end = end
        self._turns = turns
        self._turn_is_long = False
        self._turn_unfinished = False
        self._paused = False
        self.interrupted = False
        self.transport: DebugTransport | None = None
        processors.on_wake = self._shorten_turn

    def pause(self) -> None:
        """Let `run` return before the next block of code, with ``PAUSED``."""
        self._paused = True
        self._processors.interrupt_turn()

    def run(self, limit_ns: int | None, until: Callable[[], bool] | None) -> RunResult:
        """Run until the guest ends, the limit is reached or a condition comes true.

        Args:
            limit_ns: the virtual time since the machine was made at which to stop, or None.
            until: asked between turns, or None.
        """
        engine, end, console = self._engine, self._end, self._console
        end.reason = None
        self._debugging.begin_run()
        started, began_ns, executed_before = time.monotonic(), engine.time(), engine.count
        reason: StopReason | None = None
        try:
            while reason is None:
                reason = self._turn(limit_ns, until)
        finally:
            if reason not in TO_BE_CONTINUED:
                console.flush()
            if self.transport is not None:
                self.transport.flush()
        if console.panic is not None and reason in _ENDS_OF_A_PANIC:
            reason = StopReason.PANIC
        return RunResult(
            reason,
            end.exit_code,
            engine.time(),
            time.monotonic() - started,
            engine.count,
            exit_counts(engine),
            end.detail or console.panic or "",
            began_ns,
            executed_before,
        )

    def _turn(self, limit_ns: int | None, until: Callable[[], bool] | None) -> StopReason | None:
        """Run one turn of one processor, or let the time pass in which all rest."""
        engine, end, processors = self._engine, self._end, self._processors
        if end.reason is not None:
            return end.reason
        if self.interrupted:
            self.interrupted = False
            return StopReason.INTERRUPTED
        if self._paused:
            self._paused = False
            return StopReason.PAUSED
        if self._debugging.in_block:
            # Nothing may come between, or the run would not be what it is without a debugger.
            processors.continue_turn(limit_ns)
            return self._run_engine(limit_ns)
        now = engine.time()
        if self._hooks.between_turns is not None and not self._turn_unfinished:
            self._hooks.between_turns(now)
        self._partition.timers.run_due(now)
        if end.reason is not None:
            return end.reason
        if limit_ns is not None and now >= limit_ns:
            return StopReason.LIMIT
        if until is not None and until():
            return StopReason.UNTIL
        unfinished = self._turn_unfinished
        if not unfinished and self._console.panic is not None and end.panic_overdue(now):
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
        hooks = self._hooks
        if hooks.host_poll is not None:
            hooks.host_poll(0.0)
        if self.transport is not None:
            self.transport.poll()
        passed = hooks.input_source is not None and hooks.input_source()
        self._console.deliver()
        return passed

    def _run_engine(self, limit_ns: int | None) -> StopReason | None:
        engine, processors, debugging = self._engine, self._processors, self._debugging
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
            self._processors.shorten_turn(self._turns.length() // self._engine.factor)

    def _rest(self, now: int, limit_ns: int | None) -> StopReason | None:
        """Let the clock reach the next deadline, for no processor can run before."""
        hooks = self._hooks
        deadline = self._partition.timers.next_deadline()
        wake = deadline if limit_ns is None or deadline is None else min(deadline, limit_ns)
        transport = self.transport
        if (
            transport is not None
            and transport.receives
            and wake is not None
            and self._partition.debug_waits.latest_deadline > now
        ):
            if self._debugger_came(transport, now, wake):
                return None
        elif hooks.host_poll is not None:
            # Somebody listens: time passes as on a real machine.
            seconds = math.inf if wake is None else max(0, wake - now) / 1e9
            if hooks.host_poll(seconds):
                return None
            if wake is None:
                return None if self.interrupted else StopReason.DEADLOCK
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
            if self._hooks.on_host_wait is not None:
                self._hooks.on_host_wait(waited)
            self._engine.skew += waited
        return came
