"""What rules may know of a live machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from hypercall.checks.facts import Facts, MessageSlot
from hypercall.cpu.interface import MODE_CPL, MODE_LONG
from hypercall.errors import GuestMemoryError
from hypercall.partition.effects import SHARED_GENERAL_REGISTERS
from hypercall.partition.run_state import RunState
from hypercall.partition.synic import SINT_COUNT, SLOT_SIZE
from hypercall.tlfs.registers import RegisterName

if TYPE_CHECKING:
    from hypercall.cpu.unicorn.engine import Engine
    from hypercall.machine.guest_machine import GuestMachine

_PAGE = 4096
_SHARED_REGISTERS = tuple(
    RegisterName(number)
    for number in (
        *SHARED_GENERAL_REGISTERS,
        *range(RegisterName.XMM0, RegisterName.XMM0 + 16),
    )
)


class MachineFacts(Facts):
    """The facts of a machine's partition and of its running processor."""

    not_state: ClassVar[tuple[str, ...]] = ("_machine", "_engine", "_partition")

    is_complete = True

    def __init__(self, machine: GuestMachine, engine: Engine) -> None:
        """Know a machine.

        Args:
            machine: the machine.
            engine: its engine.
        """
        self._machine = machine
        self._engine = engine
        self._partition = machine.partition
        configuration = machine.partition.configuration
        self.recommendations = int(configuration.recommendations)
        self.features = int(configuration.features)
        self.privileges = machine.partition.privileges
        self.spin_retry_count = configuration.spin_retry_count
        self.apic_ids = {vp.index: vp.apic_id for vp in machine.partition.processors}
        self._started: set[int] = {machine.partition.bootstrap.index}
        self._written: set[int] = set()
        self.begin()

    def begin(self) -> None:
        """Take note that the guest is watched from now on."""
        self.from_start = not self._engine.count

    def hypercalls_enabled(self, vtl: int) -> bool | None:
        """Return whether a VTL has an enabled hypercall interface now."""
        state = self._partition.vtls.get(vtl)
        return None if state is None else state.hypercall_page.enabled

    def has_started(self, vp_index: int) -> bool | None:
        """Return whether a virtual processor runs now, or was seen running before."""
        vp = self._partition.by_index.get(vp_index)
        if vp is None:
            return None
        if vp.run_state is RunState.RUNNING:
            self._started.add(vp_index)
        return vp_index in self._started

    def unwritten(self, gpa: int, size: int, vtl: int) -> int | None:
        """Return the first guest-physical address in a list whose page nothing ever wrote."""
        memory = self._partition.memory
        for page in range(gpa // _PAGE, (gpa + max(size, 1) - 1) // _PAGE + 1):
            if page in self._written:
                continue
            offset = memory.ram_offset(page)
            if offset is None or memory.has_overlay(page, vtl):
                continue
            if not self._engine.page_written(offset):
                return max(gpa, page * _PAGE)
            self._written.add(page)
        return None

    def caller_privilege(self) -> int | None:
        """Return the current privilege level of the running processor, 0 to 3."""
        return self._engine.get_mode(self._engine.current_context) & MODE_CPL

    def code(self, address: int, length: int) -> bytes:
        """Return code at a guest-virtual address of the running processor, or less, or nothing."""
        vp = self._machine.processors.current
        for size in (length, min(length, _PAGE - address % _PAGE)):
            try:
                return self._machine.read_virtual(vp, address, size)
            except GuestMemoryError:
                continue
        return b""

    def word_size(self) -> int:
        """Return 64, or 32 where the running processor's code has another word size."""
        return 64 if self._engine.get_mode(self._engine.current_context) & MODE_LONG else 32

    def message_slots(self, vp_index: int) -> list[MessageSlot]:
        """Return the message slots of a virtual processor whose SINTs can get messages now."""
        found = []
        for vtl, state in self._partition.by_index[vp_index].vtls.items():
            synic = state.synic
            page = synic.message_page.view
            if page is None or not synic.accepts_messages:
                continue
            for sint in range(SINT_COUNT):
                if not synic.masked(sint):
                    full = any(page[sint * SLOT_SIZE : sint * SLOT_SIZE + 4])
                    found.append(MessageSlot(vtl, sint, full, synic.queue_length(sint)))
        return found

    def shared_registers(self, vp_index: int, vtl: int) -> dict[str, int]:
        """Return the registers that the VTLs of a virtual processor share, by their names."""
        processors = self._machine.processors
        context = processors.context(self._partition.by_index[vp_index], vtl)
        return {name.name: processors.registers.read(context, name) for name in _SHARED_REGISTERS}

    def device_writes(self) -> int | None:
        """Return how often the guest has written to device memory."""
        return self._machine.exit_counts()["mmio_writes"]
