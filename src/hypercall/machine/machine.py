"""The machine as its users hold it: with its faults, checks, snapshots and debugger."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from hypercall.errors import InputError
from hypercall.faults.armed import ArmedFault
from hypercall.faults.fault import Fault
from hypercall.faults.injector import Faults
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.fault_host import MachineFaultHost
from hypercall.machine.guest_machine import GuestMachine
from hypercall.machine.users import remember_users

if TYPE_CHECKING:
    from hypercall.checks.machine_checks import MachineChecks
    from hypercall.gdb.server import GdbServer
    from hypercall.machine.processor_state import ProcessorState
    from hypercall.snapshot.snapshot import Snapshot


class Machine(GuestMachine):
    """A machine that runs a guest.

    Args:
        configuration: what it is made of.

    Attributes:
        faults: the faults that are injected on purpose, and where to inject more.
        checks: what watches the guest for mistakes, or None before `check`.
    """

    not_state: ClassVar[tuple[str, ...]] = (*GuestMachine.not_state, "checks")

    def __init__(self, configuration: MachineConfiguration | None = None) -> None:
        super().__init__(configuration)
        self.checks: MachineChecks | None = None
        self.faults = Faults(
            MachineFaultHost(self, self._engine, self._exits, self._view.call_site)
        )

    # --- snapshots -----------------------------------------------------------------------------

    def state_roots(self) -> list[object]:
        """The objects from which all state of the machine that lies in objects can be found."""
        checks = [] if self.checks is None else [self.checks]
        return [*super().state_roots(), *checks]

    def settle(self, roots: list[object]) -> None:
        """Go on from a snapshot that the machine has gone back to.

        Args:
            roots: what `state_roots` returned when it was taken.
        """
        super().settle(roots)
        self.faults.settle()
        if self.checks is not None and not any(root is self.checks for root in roots):
            self.checks.begin_anew()

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

    def save(self, path: Path) -> None:
        """Write the state of the machine to a file, from which `from_snapshot` makes one like it.

        Between runs only. The run that follows is the same as without.

        Args:
            path: where; a file that is there is replaced, once the new one is whole.

        Raises:
            InputError: it cannot be written, or the machine counts time by the host's clock.
        """
        # Not at the top: few runs need it.
        from hypercall.snapshot.snapshot_file import save_machine

        save_machine(self, path)

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
        armed then. The checks know and have found what they did then, or nothing if they began
        later.

        Raises:
            InputError: it is another machine's.
            HypercallError: the snapshot was closed.
        """
        if snapshot.machine is not self:
            raise InputError(
                "the snapshot is another machine's: save it, and make a machine from the file"
            )
        snapshot.restore()

    # --- what watches, disturbs and stops it ---------------------------------------------------

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

    def processor_states(self) -> "list[ProcessorState]":
        """What each virtual processor does and where, by VP index; between runs only."""
        # Not at the top: few runs end so that somebody asks.
        from hypercall.machine.processor_state import processor_states

        return processor_states(self)

    def remember_users(self) -> Callable[[], None]:
        """Note who watches and serves the machine; the function returned goes back to that.

        It is what `restore` leaves as it is: subscribers, observers, handlers, console outputs,
        the poll, breakpoints and watchpoints, and whether there are checks.
        """
        others = remember_users(self, self._observation.call_observers, self._handlers)
        checks = self.checks

        def go_back() -> None:
            if self.checks is not None and self.checks is not checks:
                self.checks.end()
            self.checks = checks
            others()

        return go_back
