"""What the user of a machine sees of its guest: memory, registers, names, places of calls."""

import contextlib

from hypercall.cpu.interface import MODE_LONG
from hypercall.cpu.unicorn.engine import Engine
from hypercall.errors import GuestMemoryError, InputError
from hypercall.machine.guest_names import GuestNames
from hypercall.machine.kernel_memory import KernelMemory
from hypercall.machine.loaders import EntryState
from hypercall.machine.processors import Processors
from hypercall.partition.partition import Partition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.registers import RegisterName
from hypercall.trace.kallsyms import find_kallsyms
from hypercall.trace.symbols import KERNEL_HALF, SymbolTable, symbols_of_elf

_PAGE = 4096
_STACK_POINTER = 4
_SHOWN_REGISTERS = (
    *(RegisterName(RegisterName.RAX + number) for number in range(16)),
    *(RegisterName.RIP, RegisterName.RFLAGS, RegisterName.CR0, RegisterName.CR2),
    *(RegisterName.CR3, RegisterName.CR4, RegisterName.EFER),
)


class GuestView:
    """A guest from outside, between its instructions.

    Args:
        engine: the engine.
        processors: the virtual processors as the engine runs them.
        partition: the partition.

    Attributes:
        entry: how the image is entered, or None before one is loaded.
        names: the guest's names for addresses.
    """

    def __init__(self, engine: Engine, processors: Processors, partition: Partition) -> None:
        self._engine = engine
        self._processors = processors
        self._partition = partition
        self.entry: EntryState | None = None
        memory = KernelMemory(engine, processors, partition.memory)
        self.names = GuestNames(self._find_symbols, memory.read, engine.time)

    def read_virtual(self, vp: VirtualProcessor, address: int, length: int) -> bytes:
        """Read guest-virtual memory by a processor's own page tables.

        Raises:
            GuestMemoryError: an address is not mapped.
        """
        context = self._processors.context(vp)
        parts = []
        while length > 0:
            gpa = self._engine.translate(context, address)
            if gpa is None:
                raise GuestMemoryError(address, "read")
            size = min(length, _PAGE - address % _PAGE)
            parts.append(self._partition.memory.read(gpa, size, vp.active_vtl))
            address += size
            length -= size
        return b"".join(parts)

    def read_registers(self, vp_index: int) -> dict[str, int]:
        """The general and control registers of a virtual processor, by their names.

        Raises:
            InputError: there is no such virtual processor.
        """
        context = self._processors.context(self._partition.vp(vp_index))
        read = self._processors.registers.read
        return {name.name.lower(): read(context, name) for name in _SHOWN_REGISTERS}

    def write_register(self, vp_index: int, name: RegisterName, value: int) -> None:
        """Set a register of a virtual processor, between runs.

        Raises:
            InputError: there is no such virtual processor, or it has no such register.
        """
        context = self._processors.context(self._partition.vp(vp_index))
        try:
            self._processors.registers.write(context, name, value)
        except KeyError:
            raise InputError(
                f"{name.name} is not a register of the processor: "
                "use the partition's MSRs and registers for the others"
            ) from None

    def call_site(self) -> int | None:
        """The return address of the caller of the hypercall page; None outside that page.

        The place that the call is made from gets its name.
        """
        vp = self._processors.current
        rip = self._engine.get_rip(self._processors.context(vp))
        site = self._return_address(vp, rip)
        self.names.note(rip if site is None else site)
        return site

    def _return_address(self, vp: VirtualProcessor, rip: int) -> int | None:
        context = self._processors.context(vp)
        gpa = self._engine.translate(context, rip)
        page = self._partition.vtls[vp.active_vtl].hypercall_page.page
        if gpa is None or page is None or gpa // _PAGE != page:
            return None
        width = 8 if self._engine.get_mode(context) & MODE_LONG else 4
        stack = self._engine.get_general(context, _STACK_POINTER)
        try:
            return int.from_bytes(self.read_virtual(vp, stack, width), "little")
        except GuestMemoryError:
            return None

    def _find_symbols(self, first_place: int | None) -> SymbolTable | None:
        entry = self.entry
        if entry is not None and entry.symbols is not None:
            with contextlib.suppress(InputError):
                table = symbols_of_elf(entry.symbols).moved(entry.symbol_slide)
                if len(table):
                    return table
        # A kernel says early where system calls enter it; the first call may be a module's.
        context = self._processors.context(self._processors.current)
        entry_point = self._processors.registers.read(context, RegisterName.LSTAR)
        running_at = entry_point if entry_point >= KERNEL_HALF else first_place
        memory = self._partition.memory
        gpa = None if running_at is None else self._engine.translate(context, running_at)
        page = None if gpa is None else memory.ram_offset(gpa // _PAGE)
        offset = None if gpa is None or page is None else page + gpa % _PAGE
        return find_kallsyms(memory.ram, running_at, offset)
