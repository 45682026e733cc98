"""Guest-virtual memory as a kernel sees it, whoever runs at the moment."""

from typing import TYPE_CHECKING

from hypercall.cpu.interface import MODE_CPL
from hypercall.errors import GuestMemoryError
from hypercall.partition.page_walk import PagingRegisters, WalkFault, walk
from hypercall.tlfs.call_flags import TranslateGvaResultCode
from hypercall.tlfs.registers import RegisterName

if TYPE_CHECKING:
    from hypercall.cpu.unicorn.engine import Engine
    from hypercall.machine.processors import Processors
    from hypercall.partition.memory import GuestMemory

_PAGE = 4096
_ADDRESSES = 1 << 64
# With page tables isolated (PTI), the user's root table lies behind the kernel's.
_USER_TABLES = 1 << 12


class KernelMemory:
    """The memory of the kernel that the running processor belongs to.

    Args:
        engine: the engine.
        processors: the virtual processors as it runs them.
        memory: guest-physical memory.
    """

    def __init__(self, engine: "Engine", processors: "Processors", memory: "GuestMemory") -> None:
        self._engine = engine
        self._processors = processors
        self._memory = memory

    def read(self, address: int, length: int) -> bytes | None:
        """Return guest-virtual memory, or None if a part of it is not mapped; nothing changes.

        Args:
            address: the guest-virtual address.
            length: in bytes.
        """
        if not 0 <= address <= _ADDRESSES - length:
            return None
        vp = self._processors.current
        context = self._processors.context(vp)
        parts = []
        try:
            while length > 0:
                gpa = self._engine.translate(context, address)
                if gpa is None:
                    gpa = self._translate_isolated(context, address)
                    if gpa is None:
                        return None
                size = min(length, _PAGE - address % _PAGE)
                parts.append(self._memory.read(gpa, size, vp.active_vtl))
                address += size
                length -= size
        except GuestMemoryError:
            return None
        return b"".join(parts)

    def _translate_isolated(self, context: int, address: int) -> int | None:
        """Translate by the kernel's own tables while those for user code are loaded."""
        registers = self._processors.registers
        cr3 = registers.read(context, RegisterName.CR3)
        if not self._engine.get_mode(context) & MODE_CPL or not cr3 & _USER_TABLES:
            return None
        paging = PagingRegisters(
            registers.read(context, RegisterName.CR0),
            cr3 & ~_USER_TABLES,
            registers.read(context, RegisterName.CR4),
            registers.read(context, RegisterName.EFER),
            self._memory.address_bits,
        )
        try:
            return walk(paging, address, self._read_entry).address
        except WalkFault:
            return None

    def _read_entry(self, gpa: int, size: int) -> int:
        try:
            return int.from_bytes(self._memory.read(gpa, size), "little")
        except GuestMemoryError:
            raise WalkFault(TranslateGvaResultCode.GPA_UNMAPPED) from None
