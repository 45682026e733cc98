"""Runs a machine under the control of a gdb, and on its own while there is none."""

import time
from collections.abc import Callable
from dataclasses import replace

from hypercall.errors import HypercallError
from hypercall.gdb.connection import Connection
from hypercall.gdb.history import Called, History
from hypercall.gdb.monitor import Monitor
from hypercall.gdb.packets import Signal
from hypercall.gdb.place import Place
from hypercall.gdb.resumption import Resumption
from hypercall.gdb.session import SIGNAL_ABORT, SIGNAL_INTERRUPT, SIGNAL_TRAP, Session
from hypercall.gdb.target import Target
from hypercall.machine.guest_machine import GuestMachine
from hypercall.machine.result import REASON_TEXTS, RunResult, StopReason
from hypercall.recording.moment import Moment, run_to_moment

_SECONDS_BETWEEN_LOOKS = 0.05
_GUEST_FAILED = frozenset({StopReason.PANIC, StopReason.TRIPLE_FAULT, StopReason.DEADLOCK})


class GdbServer:
    """Serves one gdb at a time; the guest waits for the first one at its first instruction.

    Args:
        machine: a machine with something loaded.
        place: ``:PORT`` (the loopback interface), ``HOST:PORT`` or ``unix:PATH``.

    Attributes:
        place: where it listens, for gdb's ``target remote``.

    Raises:
        InputError: the place means nothing, or cannot be had.
    """

    def __init__(self, machine: GuestMachine, place: str) -> None:
        self._machine = machine
        self._target = Target(machine)
        self._monitor = Monitor(self._target)
        self._connection = Connection(Place(place))
        self.place = self._connection.place
        self._session: Session | None = None
        self._runs_alone = False
        self._ended: RunResult | None = None
        self._history = History(machine, self._monitor.calls, self._wants_attention)
        self._had_input = False
        self._keeps_past = False
        self._so_far: RunResult | None = None

    def run(self, limit_ns: int | None = None) -> RunResult:
        """Run the guest as gdb says until it ends, or the user or gdb ends it.

        Args:
            limit_ns: the virtual time since the machine was made at which to stop.

        Returns:
            How the run ended; ``INTERRUPTED`` if gdb has killed the guest. The host time is that
            of all its pieces, without what was done in the past and while the guest stood still.
        """
        while True:
            session = self._session
            going_on = self._runs_alone or (session is not None and session.resumption is not None)
            killed = session is not None and session.killed
            if session is not None and session.resumption and session.resumption.backward:
                self._go_back(session, session.resumption)
            elif self._ended is not None and (going_on or killed):
                self._tell_end(self._ended)
                return self._ended
            elif going_on:
                result = self._run(limit_ns)
                if result is not None:
                    return result
            elif killed or self._machine.interrupt_requested:
                self._machine.interrupt()
                return self._piece(limit_ns)
            else:
                self._attend()

    def run_to(self, moment: Moment, limit_ns: int | None = None) -> tuple[RunResult, bool]:
        """Run the guest on its own to a moment; gdb can go back from there to where it was.

        Args:
            moment: the moment.
            limit_ns: the virtual time since the machine was made at which to stop before.

        Returns:
            How the run ended, and whether the moment has come.
        """
        machine = self._machine
        self._history.begin()
        self._keeps_past = True
        poll = machine.host_poll
        machine.host_poll = self._attentive(poll)
        try:
            return run_to_moment(machine, moment, limit_ns, self._run_and_keep)
        finally:
            machine.host_poll = poll

    def close(self) -> None:
        """Hang up and stop listening."""
        self._connection.close()
        self._monitor.close()
        self._history.close()

    # --- while the guest stands still ------------------------------------------------------------

    def _attend(self) -> None:
        """Serve what gdb asks while the guest is stopped."""
        connection = self._connection
        if self._machine.host_poll is not None:
            self._machine.host_poll(0.0)
        connection.wait(_SECONDS_BETWEEN_LOOKS)
        if connection.new:
            self._begin_session()
        elif not connection.connected:
            self._session = None
        item = connection.take()
        while item is not None and self._session is not None:
            if item is Signal.REPEAT:
                connection.repeat()
            elif isinstance(item, bytes):
                self._serve(self._session, item)
                if self._session is None or self._session.resumption or self._session.killed:
                    return
            item = connection.take()

    def _begin_session(self) -> None:
        self._connection.new = False
        self._target.remove_all()
        self._target.register_set = self._target.next_register_set
        self._session = Session(self._target, self._monitor, reversible=self._history.possible)
        if not self._keeps_past:
            self._history.begin()
        self._keeps_past = self._runs_alone = False

    def _serve(self, session: Session, payload: bytes) -> None:
        reply = session.handle(payload)
        if reply is not None:
            self._connection.send(reply)
        if session.quiet:
            self._connection.acknowledges = False
        if session.detached:
            self._leave_alone()

    # --- while the guest runs --------------------------------------------------------------------

    def _run(self, limit_ns: int | None) -> RunResult | None:
        """Run the guest until something happens; return the result if it has ended."""
        machine, session = self._machine, self._session
        if session is not None and session.resumption is not None:
            self._prepare(session, session.resumption)
        poll = machine.host_poll
        machine.host_poll = self._attentive(poll)
        try:
            while True:
                result = self._piece(limit_ns, self._wants_return)
                if result.reason is not StopReason.UNTIL or self._wants_attention():
                    break
                self._keep_history()
        finally:
            machine.host_poll = poll
        self._keep_history()
        if result.reason is StopReason.UNTIL:
            self._called()
            return None
        if session is None:
            # What nobody has asked for any more stops nobody.
            return None if result.reason is StopReason.DEBUGGER else result
        machine.debugging.give_up_step()
        if result.reason is StopReason.DEBUGGER:
            assert machine.debugging.stop is not None
            self._connection.send(session.stopped(machine.debugging.stop))
        elif result.reason is StopReason.PAUSED:
            self._connection.send(session.signalled(SIGNAL_TRAP))
        elif result.reason in _GUEST_FAILED:
            # It is worth a look; whoever goes on from here is told that it has ended.
            self._ended = result
            self._say(result)
            self._connection.send(session.signalled(SIGNAL_ABORT))
        else:
            self._tell_end(result)
            return result
        return None

    def _run_and_keep(self, limit_ns: int | None) -> RunResult:
        """Run the guest while no gdb is there, and keep its past."""
        while True:
            result = self._piece(limit_ns, self._is_to_keep)
            if self._had_input:
                self._history.begin()
            self._had_input = False
            self._history.keep()
            if result.reason is not StopReason.UNTIL:
                return result

    def _is_to_keep(self) -> bool:
        return self._history.due() or self._had_input

    def _piece(self, limit_ns: int | None, until: Callable[[], bool] | None = None) -> RunResult:
        result = self._machine.run(limit_ns, until=until)
        whole = self._so_far
        if whole is not None:
            result = replace(
                result,
                host_seconds=whole.host_seconds + result.host_seconds,
                began_ns=whole.began_ns,
                executed_before=whole.executed_before,
            )
        self._so_far = result
        return result

    def _wants_return(self) -> bool:
        """Whether a run is to return: for gdb, or so that its past can be kept."""
        due = self._history.due()
        return self._wants_attention() or due or self._had_input

    def _keep_history(self) -> None:
        if self._had_input and self._session is not None:
            # What was typed is not kept: from here on the run can be done again.
            self._history.begin()
        self._had_input = False
        self._history.keep()

    def _prepare(self, session: Session, resumption: Resumption) -> None:
        if session.changed:
            session.changed = False
            self._history.begin()
        if resumption.step is not None:
            vp = self._target.vp(resumption.step)
            self._machine.debugging.step(vp, resumption.first, resumption.end)

    def _called(self) -> None:
        """Attend to what the run was stopped for: Ctrl-C, a new gdb, or one that has gone."""
        self._machine.debugging.give_up_step()
        if self._connection.new:
            self._begin_session()
        elif self._session is not None and self._connection.connected:
            self._connection.drop_signals()
            self._connection.send(self._session.signalled(SIGNAL_INTERRUPT))
        else:
            self._leave_alone()

    def _leave_alone(self) -> None:
        self._target.remove_all()
        self._history.close()
        self._session = None
        self._runs_alone = True

    # --- into the past ---------------------------------------------------------------------------

    def _go_back(self, session: Session, resumption: Resumption) -> None:
        """Step or run back, and tell gdb where that ended."""
        if session.changed:
            session.changed = False
            self._history.begin()
        reply: bytes | None = None
        try:
            if resumption.step is not None:
                vp = self._target.vp(resumption.step)
                if self._history.step_back(vp):
                    reply = session.signalled(SIGNAL_TRAP, resumption.step)
            else:
                stop = self._history.continue_back()
                if stop is not None:
                    reply = session.stopped(stop)
            self._ended = None
            if reply is None:
                reply = session.signalled(SIGNAL_TRAP, reason=b"replaylog:begin;")
        except Called:
            self._called()
            return
        except HypercallError as error:
            self._connection.send(b"O" + f"{error}\n".encode().hex().encode())
            reply = session.signalled(SIGNAL_TRAP)
        self._connection.send(reply)

    def _wants_attention(self) -> bool:
        return self._connection.poll() or (
            self._session is not None and not self._connection.connected
        )

    def _attentive(self, poll: Callable[[float], bool] | None) -> Callable[[float], bool] | None:
        """The machine's way to wait, but so that gdb is heard meanwhile."""
        if poll is None:
            return None

        def wait(seconds: float) -> bool:
            end = time.monotonic() + seconds
            while True:
                started = time.monotonic()
                piece = max(0.0, min(_SECONDS_BETWEEN_LOOKS, end - started))
                if poll(piece):
                    self._had_input = True
                    return True
                if seconds > 0 and self._wants_attention():
                    return True
                now = time.monotonic()
                if now >= end or now - started < piece / 2:
                    # The time is over; or nobody lives in real time, and it need not be waited for.
                    return False

        return wait

    def _say(self, result: RunResult) -> None:
        """Let gdb show how the guest has failed."""
        text = f"{REASON_TEXTS[result.reason].capitalize()}"
        if result.detail:
            text += f": {' '.join(result.detail.split())}"
        self._connection.send(b"O" + f"{text}.\n".encode().hex().encode())

    def _tell_end(self, result: RunResult) -> None:
        """Tell gdb that the guest has ended, with what it says to be its exit code."""
        if self._session is None or self._session.killed:
            return
        code = 1 if result.reason in _GUEST_FAILED else result.exit_code or 0
        self._connection.send(b"W%02x" % (code & 0xFF))
