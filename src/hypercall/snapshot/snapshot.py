"""A snapshot in memory: the state of one machine at one moment."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercall.machine.page_runs import page_runs
from hypercall.snapshot.condition import check_time
from hypercall.snapshot.memento import Memento
from hypercall.snapshot.memory_holder import MemoryHolder

if TYPE_CHECKING:
    from hypercall.machine.guest_machine import GuestMachine

_PAGE = 4096
# Bit 1 of what the engine knows about a page says that it was written.
_IS_WRITTEN = bytes(state >> 1 & 1 for state in range(256))


class Snapshot:
    """The state of a machine, to which that machine can go back.

    It costs a process that holds the memory, shared with this one as long as neither changes it;
    `close` ends it, and so does letting the snapshot go.

    Attributes:
        machine: the machine.
        time_ns: the virtual time at which it was taken, in nanoseconds.

    Raises:
        InputError: the machine counts time by the host's clock, which nothing brings back.
        HypercallError: the host cannot hold a copy of the memory.
    """

    def __init__(self, machine: "GuestMachine") -> None:
        check_time(machine)
        self.time_ns = machine.time_ns
        self.machine = machine
        self._engine: dict[str, Any] = machine.engine.save()
        self._roots = machine.state_roots()
        self._memento = Memento(self._roots)
        self._holder = MemoryHolder()

    def restore(self) -> None:
        """Let the machine go back.

        Raises:
            HypercallError: the process that holds the memory is gone.
        """
        self._go_back()
        self.machine.settle(self._roots)

    def _go_back(self) -> None:
        machine = self.machine
        engine = machine.engine
        # Pages that nothing had written then nor has since hold zeros in both.
        before, now = self._engine["pages"], bytes(engine.written_pages())
        for backing, address, runs in (
            ("ram", engine.ram_address, _runs(before, now)),
            ("arena", engine.arena_address, [(0, machine.arena_size)]),
        ):
            for start, length in runs:
                for offset, data in self._holder.read(address + start, length):
                    engine.replace_memory(backing, start + offset, data)
        engine.restore(self._engine, True)
        self._memento.restore()

    def save(self, path: Path) -> None:
        """Write the snapshot to a file, from which `Machine.from_snapshot` makes a machine.

        Args:
            path: where; a file that is there is replaced, once the new one is whole.

        Raises:
            InputError: it cannot be written, or the state refers to functions of the user.
            HypercallError: the snapshot was closed.
        """
        # Not at the top: few runs need it.
        from hypercall.snapshot.snapshot_file import save_machine

        now = Snapshot(self.machine)
        try:
            self._go_back()
            save_machine(self.machine, path)
        finally:
            now._go_back()
            now.close()

    def close(self) -> None:
        """Let the memory go; the snapshot cannot be restored any more."""
        self._holder.close()


def _runs(before: bytes, now: bytes) -> list[tuple[int, int]]:
    """Return (offset, length) in bytes of the runs of pages that either marks as written."""
    either = int.from_bytes(before, "little") | int.from_bytes(now, "little")
    written = either.to_bytes(len(now), "little").translate(_IS_WRITTEN)
    return [(page * _PAGE, count * _PAGE) for page, count in page_runs(written, marked=True)]
