"""What rules may know of a live machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypercall.checks.facts import Facts
from hypercall.cpu.interface import MODE_CPL, MODE_LONG
from hypercall.errors import GuestMemoryError
from hypercall.partition.run_state import RunState

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine

_PAGE = 4096


class MachineFacts(Facts):
    """The facts of a machine's partition and of its running processor."""

    def __init__(self, machine: Machine) -> None:
        """Know a machine.

        Args:
            machine: the machine.
        """
        self._machine = machine
        self._partition = machine.partition
        configuration = machine.partition.configuration
        self.recommendations = int(configuration.recommendations)
        self.features = int(configuration.features)
        self.privileges = machine.partition.privileges
        self.spin_retry_count = configuration.spin_retry_count
        self.apic_ids = {vp.index: vp.apic_id for vp in machine.partition.processors}
        self._started: set[int] = {machine.partition.bootstrap.index}
        self._written: set[int] = set()

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
            if not self._machine.page_written(offset):
                return max(gpa, page * _PAGE)
            self._written.add(page)
        return None

    def caller_privilege(self) -> int | None:
        """Return the current privilege level of the running processor, 0 to 3."""
        return self._machine.processor_mode() & MODE_CPL

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
        return 64 if self._machine.processor_mode() & MODE_LONG else 32

    def device_writes(self) -> int | None:
        """Return how often the guest has written to device memory."""
        return self._machine.exit_counts()["mmio_writes"]
