"""What a processor engine is to the machine, and what the machine is to a processor engine.

A *context* is the register state of one virtual processor in one VTL. An engine holds many and
runs one at a time. A *table* is one VTL's view of guest-physical memory.
"""

from typing import Protocol

MODE_CPL = 3
"""Bits of the mode that hold the current privilege level."""
MODE_PROTECTED = 4
"""Bit of the mode that is set in protected mode."""
MODE_LONG = 8
"""Bit of the mode that is set for 64-bit code."""
MODE_VIRTUAL_8086 = 16
"""Bit of the mode that is set in virtual-8086 mode."""

VIOLATION_RETRY = 0
"""The access is tried again, its obstacle is gone."""
VIOLATION_FAULT = 1
"""The guest gets #GP for the access."""
VIOLATION_ABANDON = 2
"""The instruction is abandoned before it had an effect; it runs again when its context does."""

PAUSES_OF_A_SPIN = 16
"""How often a context executes PAUSE before ``spin`` is called."""

ACCESS_READ = 0
ACCESS_WRITE = 1
ACCESS_FETCH = 2


class Exits(Protocol):
    """What an engine calls when guest code does something that is not the processor's own affair.

    Unless it says otherwise, an exit is served with the instruction pointer at the instruction,
    and the engine moves on to the next one when the call returns. None of these may start or
    switch contexts but where it says so.
    """

    def hypercall(self, control: int, input: int, output: int, mode: int) -> int | None:
        """A VMCALL or VMMCALL.

        Args:
            control: RCX, or EDX:EAX of a caller that is not in 64-bit mode.
            input: RDX, or EBX:ECX.
            output: R8, or EDI:ESI.
            mode: the caller's mode (``MODE_CPL``, ``MODE_PROTECTED``, ``MODE_LONG``).

        Returns:
            The result value, which the engine stores before it goes on behind the instruction;
            False for #UD; None if the exit has set all registers itself. Contexts may be
            switched in the last case.
        """
        ...

    def read_msr(self, index: int) -> int | None:
        """RDMSR of an MSR that the engine does not hold itself; None means #GP."""
        ...

    def write_msr(self, index: int, value: int) -> bool:
        """WRMSR of an MSR that the engine does not hold itself; False means #GP."""
        ...

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        """CPUID; returns EAX, EBX, ECX, EDX."""
        ...

    def read_port(self, port: int, size: int) -> int:
        """IN of 1, 2 or 4 bytes."""
        ...

    def write_port(self, port: int, size: int, value: int) -> None:
        """OUT of 1, 2 or 4 bytes."""
        ...

    def read_device(self, gpa: int, size: int) -> int:
        """A read within a page of device registers."""
        ...

    def write_device(self, gpa: int, size: int, value: int) -> None:
        """A write within a page of device registers."""
        ...

    def resolve(self, page: int, table: int) -> int:
        """The entry of a guest-physical page beyond the table."""
        ...

    def memory_violation(self, address: int, gpa: int, access: int) -> int:
        """An access that the table does not allow.

        Args:
            address: the guest-virtual address.
            gpa: the guest-physical address.
            access: ``ACCESS_READ``, ``ACCESS_WRITE`` or ``ACCESS_FETCH``.

        Returns:
            One of the ``VIOLATION_`` values.
        """
        ...

    def stale_translation(
        self, address: int, access: int, backing: int, gpa: int | None, since: int
    ) -> None:
        """A use of a translation that the guest's paging structures do not give any more.

        Called only while there are audits. The access is carried out by the old translation, as
        the processor may.

        Args:
            address: the guest-virtual address.
            access: ``ACCESS_READ``, ``ACCESS_WRITE`` or ``ACCESS_FETCH``.
            backing: the byte offset in RAM of the page that the old translation leads to.
            gpa: the guest-physical address that a walk gives now, or None for a fault.
            since: the time in nanoseconds at which an audit found it out of date.
        """
        ...

    def watched_read(self, address: int, offset: int) -> None:
        """A read by guest code of a page of RAM that is watched; it is carried out.

        Args:
            address: the guest-virtual address.
            offset: the byte offset in RAM of what is read.
        """
        ...

    def control_write(self, register: int, value: int) -> bool:
        """A write of a control register that is intercepted.

        Returns:
            True if the instruction is not carried out (contexts may have been switched); False
            lets the engine carry it out.
        """
        ...

    def read_task_priority(self) -> int:
        """A read of CR8; returns the task priority, whose bits 7:4 are CR8."""
        ...

    def write_task_priority(self, value: int) -> None:
        """A write of CR8, shifted left by four."""
        ...

    def table_write(self, register: str, instruction: bytes) -> None:
        """A load of GDTR, IDTR, LDTR or TR that is intercepted; it is not carried out."""
        ...

    def halt(self) -> None:
        """HLT; the instruction pointer is behind it already. Contexts may be switched."""
        ...

    def spin(self) -> None:
        """Several PAUSE instructions were executed: the processor waits for another one."""
        ...

    def triple_fault(self) -> None:
        """The processor shut down."""
        ...

    def acknowledge(self) -> int:
        """The context can take an interrupt; returns its vector, or -1 if there is none."""
        ...
