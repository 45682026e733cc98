"""A machine as a debugger sees it: threads, registers, memory, breakpoints."""

from dataclasses import dataclass

from hypercall.cpu.unicorn.engine import Engine
from hypercall.errors import InputError
from hypercall.gdb.registers import (
    REGISTERS_64,
    Register,
    RegisterSet,
    read_register,
    write_register,
)
from hypercall.machine.debugging import Access, Watchpoint
from hypercall.machine.guest_machine import GuestMachine
from hypercall.machine.processor_state import activity
from hypercall.partition.memory import PAGE_SIZE, Backing
from hypercall.partition.virtual_processor import VirtualProcessor

_WATCH_KINDS = {2: Access.WRITE, 3: Access.READ, 4: Access.READ | Access.WRITE}


@dataclass(frozen=True, slots=True)
class Point:
    """A breakpoint or watchpoint as gdb asks for it.

    Attributes:
        kind: 0 software and 1 hardware breakpoint, 2 write, 3 read and 4 access watchpoint.
        address: where it is.
        length: how long the watched data is; for breakpoints without meaning.
    """

    kind: int
    address: int
    length: int


class Target:
    """A machine to be debugged.

    Args:
        machine: the machine.

    Attributes:
        machine: the machine.
        register_set: the registers that are shown.
        next_register_set: those that the next connection is shown.
    """

    def __init__(self, machine: GuestMachine) -> None:
        self.machine = machine
        self.register_set: RegisterSet = REGISTERS_64
        self.next_register_set: RegisterSet = REGISTERS_64
        self._points: set[Point] = set()

    # --- threads -----------------------------------------------------------------------------

    @property
    def threads(self) -> list[int]:
        """The numbers of the threads: VP index plus one."""
        return sorted(index + 1 for index in self.machine.partition.by_index)

    def vp(self, thread: int) -> VirtualProcessor:
        """The virtual processor of a thread.

        Raises:
            InputError: there is none.
        """
        return self.machine.vp(thread - 1)

    @property
    def current_thread(self) -> int:
        """The thread whose turn it is."""
        return self.machine.processors.current.index + 1

    def describe(self, thread: int) -> str:
        """Which VP a thread is, what it does and in which VTL."""
        vp = self.vp(thread)
        return f"VTL{vp.active_vtl}, {self.state(vp)}"

    def state(self, vp: VirtualProcessor) -> str:
        """What a virtual processor does."""
        return activity(self.machine, vp).value

    # --- registers -----------------------------------------------------------------------------

    def read_registers(self, thread: int) -> bytes:
        """All registers of a thread, one behind the other."""
        engine, context = self._context(thread)
        return b"".join(
            read_register(register, engine, context) for register in self.register_set.registers
        )

    def write_registers(self, thread: int, data: bytes) -> None:
        """Set all registers of a thread that can be set.

        Raises:
            InputError: the number of bytes is wrong.
        """
        registers = self.register_set.registers
        if len(data) != sum(register.size for register in registers):
            raise InputError("the number of bytes is not that of all registers")
        engine, context = self._context(thread)
        position = 0
        for register in registers:
            value = data[position : position + register.size]
            position += register.size
            if register.set is not None and value != read_register(register, engine, context):
                write_register(register, engine, context, value)

    def read_register(self, thread: int, number: int) -> bytes:
        """A register of a thread by its number.

        Raises:
            InputError: there is no such register.
        """
        engine, context = self._context(thread)
        return read_register(self._register(number), engine, context)

    def write_register(self, thread: int, number: int, data: bytes) -> None:
        """Set a register of a thread.

        Raises:
            InputError: there is no such register, or it cannot have this value.
        """
        engine, context = self._context(thread)
        register = self._register(number)
        if data != read_register(register, engine, context):
            write_register(register, engine, context, data)

    def register_number(self, name: str) -> int | None:
        """The number of a register; None if it is not among those that are shown."""
        names = [register.name for register in self.register_set.registers]
        return names.index(name) if name in names else None

    def _register(self, number: int) -> Register:
        registers = self.register_set.registers
        if not 0 <= number < len(registers):
            raise InputError(f"there is no register {number}")
        return registers[number]

    def _context(self, thread: int) -> tuple[Engine, int]:
        return self.machine.debugging.engine, self.machine.processors.context(self.vp(thread))

    # --- memory --------------------------------------------------------------------------------

    def read_memory(self, thread: int, address: int, length: int) -> bytes:
        """Read memory by a thread's page tables, whatever the permissions are.

        Returns:
            The bytes, fewer where the memory ends.

        Raises:
            InputError: there is none at the address.
        """
        parts = []
        while length > 0:
            view = self._view(thread, address, length)
            if view is None:
                break
            parts.append(view.tobytes())
            address += len(view)
            length -= len(view)
        if not parts and length > 0:
            raise InputError(f"there is no memory at {address:#x}")
        return b"".join(parts)

    def write_memory(self, thread: int, address: int, data: bytes) -> None:
        """Write memory by a thread's page tables, whatever the permissions are.

        Raises:
            InputError: there is none at an address; then nothing is written.
        """
        views = []
        position = 0
        while position < len(data):
            view = self._view(thread, address + position, len(data) - position)
            if view is None:
                raise InputError(f"there is no memory at {address + position:#x}")
            views.append((address + position, view))
            position += len(view)
        position = 0
        for start, view in views:
            view[:] = data[position : position + len(view)]
            position += len(view)
            self._wrote(thread, start, len(view))

    def translate(self, thread: int, address: int) -> int | None:
        """The guest-physical address of a linear one, or None."""
        if not 0 <= address < 1 << 64:
            return None
        engine, context = self._context(thread)
        return engine.translate(context, address)

    def physical_view(self, gpa: int, length: int, vtl: int) -> memoryview | None:
        """The bytes at a guest-physical address up to the end of its page, or None for a device."""
        memory = self.machine.partition.memory
        if not 0 <= gpa < memory.page_limit * PAGE_SIZE:
            return None
        resolution = memory.resolve(gpa // PAGE_SIZE, vtl)
        if resolution is None:
            return None
        buffer = memory.ram if resolution.backing is Backing.RAM else memory.arena
        offset = gpa % PAGE_SIZE
        start = resolution.offset + offset
        return buffer[start : start + min(length, PAGE_SIZE - offset)]

    def _view(self, thread: int, address: int, length: int) -> memoryview | None:
        gpa = self.translate(thread, address)
        if gpa is None:
            return None
        return self.physical_view(gpa, length, self.vp(thread).active_vtl)

    def _wrote(self, thread: int, address: int, length: int) -> None:
        memory = self.machine.partition.memory
        gpa = self.translate(thread, address)
        if gpa is None or memory.listener is None:
            return
        resolution = memory.resolve(gpa // PAGE_SIZE, self.vp(thread).active_vtl)
        if resolution is not None:
            base = 0 if resolution.backing is Backing.RAM else memory.size
            start = base + resolution.offset + gpa % PAGE_SIZE
            memory.listener.host_wrote(start, length)

    # --- breakpoints ---------------------------------------------------------------------------

    def insert(self, point: Point) -> None:
        """Set a breakpoint or watchpoint; the same twice is as good as once.

        Raises:
            InputError: it cannot be set.
        """
        points = self._points | {point}
        self._apply(points)
        self._points = points

    def remove(self, point: Point) -> None:
        """Take a breakpoint or watchpoint away, if it is there."""
        self._points = self._points - {point}
        self._apply(self._points)

    def remove_all(self) -> None:
        """Take everything away that was set."""
        self._points = set()
        self._apply(self._points)

    def breakpoint_at(self, address: int) -> Point | None:
        """The breakpoint at an address, or None."""
        found = [point for point in self._points if point.kind < 2 and point.address == address]
        return min(found, key=lambda point: point.kind) if found else None

    def _apply(self, points: set[Point]) -> None:
        debugging = self.machine.debugging
        debugging.watchpoints = tuple(
            Watchpoint(point.address, point.length, _WATCH_KINDS[point.kind])
            for point in sorted(points, key=lambda point: (point.address, point.kind))
            if point.kind in _WATCH_KINDS
        )
        debugging.breakpoints = frozenset(point.address for point in points if point.kind < 2)
