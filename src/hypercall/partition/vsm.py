"""Virtual Secure Mode of a partition: its trust levels, and what they do to one another."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from hypercall.partition import secure_intercepts as intercepts
from hypercall.partition import vtl_switch
from hypercall.partition.instruction_length import instruction_length
from hypercall.partition.memory import PAGE_SIZE, Permission
from hypercall.partition.operand import two_byte_operand
from hypercall.partition.vtl_protections import VtlProtections
from hypercall.tlfs.assist_page import VtlEntryReason
from hypercall.tlfs.registers import (
    PARTITION_CONFIG_DENY_LOWER_VTL_STARTUP,
    PARTITION_CONFIG_ZERO_MEMORY_ON_RESET,
    RegisterName,
)

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl
    from hypercall.tlfs.initial_context import InitialVpContext

PAGES_PER_PARTITION = 2
"""The overlay pages that a VTL can need for the partition: hypercall page and reference TSC."""

_CR4_SMEP = 1 << 20
_SELECTOR = 0xFFFF
_SELECTOR_SHIFT = 96
_LONG_MODE_ACTIVE = 1 << 10
_CS_LONG = 1 << 125
_CS_BIG = 1 << 126

# A member of an enumeration is found slowly through its class.
_BY_CALL = VtlEntryReason.VTL_CALL


class VirtualSecureMode:
    """The trust levels of a partition (TLFS ``vsm``).

    Who may do what is for the calls to check; this does it.

    Args:
        partition: the partition.

    Attributes:
        protections: what VTLs let lower ones do with pages of RAM.
    """

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition
        self._vtl_count = partition.configuration.vtl_count
        self.protections = VtlProtections(partition.memory, self._vtl_count)
        self._waiters: list[VirtualProcessor] = []

    def reset(self) -> None:
        """Go to the state of a new partition, in which only VTL 0 is enabled.

        RAM becomes zero where a VTL above 0 was enabled and did not wish otherwise.
        """
        partition = self._partition
        self._waiters.clear()
        higher = [state for vtl, state in partition.vtls.items() if vtl]
        for setter in range(self._vtl_count):
            self.protections.drop(setter)
        if not higher:
            return
        partition.effects.protection_changed(0, None)
        if any(PARTITION_CONFIG_ZERO_MEMORY_ON_RESET.get(state.config) for state in higher):
            partition.memory.zero_ram()

    # --- enabling and disabling ----------------------------------------------------------------

    def enable_partition_vtl(self, vtl: int, *, mbec: bool) -> None:
        """Make a VTL available to the partition; nothing runs in it yet."""
        state = self._partition.new_vtl(vtl)
        state.mbec = mbec

    def disable_partition_vtl(self, vtl: int, *, scrub_only: bool) -> None:
        """Take a VTL away from the partition: its protections, its pages and its settings.

        Args:
            vtl: a VTL that is enabled on no virtual processor.
            scrub_only: the VTL stays enabled, as if it had just been.
        """
        partition = self._partition
        state = partition.vtls[vtl]
        state.reset()
        if not scrub_only:
            del partition.vtls[vtl]
        self.protections.drop(vtl)
        self._restricted_anew(vtl, None)

    def enable_vp_vtl(self, vp: "VirtualProcessor", vtl: int, context: "InitialVpContext") -> None:
        """Give a virtual processor a VTL, which starts with the given registers when entered."""
        state = vp.vtls.get(vtl) or vp.new_vtl(vtl)
        state.secure.context = context
        state.secure.long_mode = bool(context.efer & _LONG_MODE_ACTIVE)
        state.secure.scrubbed = False
        self._partition.effects.vtl_enabled(vp, vtl, context)
        self.intercepts_changed(vp)

    def disable_vp_vtl(self, vp: "VirtualProcessor", vtl: int, *, scrub_only: bool) -> None:
        """Take a VTL away from a virtual processor, with all its state and pending interrupts.

        Args:
            vp: the virtual processor.
            vtl: a VTL above 0 that is not the active one.
            scrub_only: the VTL stays enabled and is entered at its initial context again.
        """
        state = vp.vtls[vtl]
        secure = state.secure
        context, long_mode = secure.context, secure.long_mode
        state.reset()
        effects = self._partition.effects
        if scrub_only and context is not None:
            secure.context, secure.long_mode, secure.scrubbed = context, long_mode, True
            effects.vtl_enabled(vp, vtl, context)
        else:
            del vp.vtls[vtl]
            effects.vtl_disabled(vp, vtl)
        self.intercepts_changed(vp)
        self.wake_waiters()

    def denies_startup(self, vtl: int) -> bool:
        """Return whether a higher VTL forbids this one to start virtual processors."""
        return any(
            higher > vtl and PARTITION_CONFIG_DENY_LOWER_VTL_STARTUP.get(state.config)
            for higher, state in self._partition.vtls.items()
        )

    # --- memory protections --------------------------------------------------------------------

    def set_default_protection(self, vtl: int, mask: int) -> None:
        """Set what a VTL lets lower ones do with every page that it does not single out."""
        self.protections.set_default(vtl, mask)
        self._restricted_anew(vtl, None)

    def protect(self, vtl: int, pages: Iterable[int], mask: int) -> int:
        """Set what a VTL lets lower ones do with pages.

        Args:
            vtl: the VTL whose protection it is.
            pages: guest-physical page numbers, taken in order up to one that is no RAM.
            mask: bits of `Permission`.

        Returns:
            How many pages were set.
        """
        done = []
        ram_offset = self._partition.memory.ram_offset
        for page in pages:
            offset = ram_offset(page)
            if offset is None:
                break
            self.protections.set_page(vtl, offset // PAGE_SIZE, mask)
            done.append(page)
        if done:
            self._restricted_anew(vtl, done)
        return len(done)

    def _restricted_anew(self, setter: int, pages: list[int] | None) -> None:
        for lower in range(setter):
            if lower in self._partition.vtls:
                self._partition.effects.protection_changed(lower, pages)

    def mbec_enabled(self, vp: "VirtualProcessor", vtl: int) -> bool:
        """Return whether a VTL of the VP runs with mode-based execute control.

        Without it the kernel-execute permission of a page governs user code too.
        """
        return any(
            higher > vtl and state.secure.enables_mbec(vtl) for higher, state in vp.vtls.items()
        )

    def user_execute_governs(self, vp: "VirtualProcessor") -> bool:
        """Return whether user code of the active VTL needs the user-execute permission.

        With SMEP disabled the kernel's governs all fetches (TLFS ``vsm``, MBEC and SMEP).
        """
        if not self.mbec_enabled(vp, vp.active_vtl):
            return False
        cr4 = self._partition.effects.read_register(vp, vp.active_vtl, RegisterName.CR4)
        return bool(cr4 & _CR4_SMEP)

    # --- TLB locks -----------------------------------------------------------------------------

    def must_wait(
        self, caller: "VirtualProcessor", targets: "Iterable[VirtualProcessor]", vtl: int
    ) -> bool:
        """Return whether a flush has to wait because a VTL above the caller's holds a TLB locked.

        The caller is suspended then, and wakes up when a lock is released.

        Args:
            caller: who flushes.
            targets: the processors that the flush has to reach.
            vtl: the VTL whose translations it flushes.
        """
        active = caller.active_vtl
        for vp in targets:
            if len(vp.vtls) > 1 and any(
                higher > active and state.secure.locks_translations(vtl)
                for higher, state in vp.vtls.items()
            ):
                self._suspend(caller)
                return True
        return False

    def must_wait_for_locks(self, state: "VirtualProcessorVtl") -> bool:
        """Return whether another VP holds the TLB of a VTL below this one locked.

        The VP is suspended then, and wakes up when a lock is released.
        """
        for vp in self._partition.processors:
            if vp is state.vp:
                continue
            for lower in range(state.vtl):
                if any(each.secure.locks_translations(lower) for each in vp.vtls.values()):
                    self._suspend(state.vp)
                    return True
        return False

    def _suspend(self, vp: "VirtualProcessor") -> None:
        self._waiters.append(vp)
        self._partition.effects.suspend(vp)

    def release_locks(self, state: "VirtualProcessorVtl") -> None:
        """Release the TLB locks that a VTL of a VP holds, as its return does."""
        if state.secure.release_locks():
            self.wake_waiters()

    def wake_waiters(self) -> None:
        """Let those who wait for a TLB lock see whether they can go on."""
        waiters, self._waiters = self._waiters, []
        for vp in waiters:
            self._partition.effects.resume(vp)

    # --- switching -----------------------------------------------------------------------------

    def vtl_call(self, vp: "VirtualProcessor") -> bool:
        """Enter the next higher VTL; the machine has moved RIP behind the call already.

        Returns:
            False for #UD: there is no higher VTL. The dispatcher has found out before that there
            is one, and that the control input is right.
        """
        target = vp.next_higher_vtl()
        if target is None:
            return False
        vtl_switch.enter(vp, target, _BY_CALL)
        return True

    def vtl_return(self, vp: "VirtualProcessor", fast: bool) -> bool:
        """Return to the next lower VTL; the machine has moved RIP behind the call already.

        Args:
            vp: the virtual processor.
            fast: RAX and RCX (EAX, ECX and EDX of a 32-bit VTL) stay as they are; otherwise they
                are set from the assist page of the VTL that returns, if it is enabled.

        Returns:
            False for #UD: there is no lower VTL.
        """
        return vtl_switch.leave(vp, fast)

    def interrupt_entry(self, vp: "VirtualProcessor", vtl: int) -> None:
        """Enter the VTL that `VirtualProcessor.interrupting_vtl` names.

        The entry reason is an interrupt if there is one to take, otherwise an intercept.
        """
        state = vp.vtls[vtl]
        interrupt = state.secure.nmi_waits or state.apic.pending_vector() is not None
        reason = VtlEntryReason.INTERRUPT if interrupt else VtlEntryReason.INTERCEPT
        vtl_switch.enter(vp, vtl, reason)

    # --- intercepts ----------------------------------------------------------------------------

    def memory_violation(
        self, vp: "VirtualProcessor", gva: int, gpa: int, access: int, instruction: bytes
    ) -> bool:
        """Tell the VTL whose protection an access of guest code violates.

        Args:
            vp: the virtual processor, its registers as before the instruction.
            gva: the guest-virtual address.
            gpa: the guest-physical address.
            access: 0 read, 1 write, 2 execute.
            instruction: the bytes of code at RIP, up to 16; they may go on behind the
                instruction, whose length is found out here. Ignored for a fetch.

        Returns:
            True when an intercept is on its way: the instruction is left, and its VTL is the
            next that runs. False when no VTL protects the page, or none can be told.
        """
        setter = self._refusing(vp, gpa, self._needed(vp, access))
        if setter is None:
            return False
        length = 0
        if access == intercepts.EXECUTE:
            instruction = b""
        else:
            length = self._length(vp, instruction)
            instruction = instruction[:length] if length else instruction
        return intercepts.memory_intercept(
            vp,
            setter,
            access,
            gpa,
            gva=gva,
            instruction=instruction,
            instruction_length=length,
        )

    def parameter_violation(self, vp: "VirtualProcessor", gpa: int, *, write: bool) -> bool:
        """Tell the VTL whose protection a hypercall's parameters violate; as `memory_violation`."""
        access = intercepts.WRITE if write else intercepts.READ
        setter = self._refusing(vp, gpa, self._needed(vp, access))
        if setter is None:
            return False
        return intercepts.memory_intercept(
            vp,
            setter,
            access,
            gpa,
            gva=None,
            instruction=b"",
            instruction_length=intercepts.HYPERCALL_LENGTH,
            information=intercepts.HYPERCALL_OUTPUT_PENDING if write else 0,
        )

    def _needed(self, vp: "VirtualProcessor", access: int) -> int:
        if access != intercepts.EXECUTE:
            return Permission.WRITE if access == intercepts.WRITE else Permission.READ
        if self.user_execute_governs(vp):
            cs = self._partition.effects.read_register(vp, vp.active_vtl, RegisterName.CS)
            if cs >> _SELECTOR_SHIFT & 3 == 3:
                return Permission.USER_EXECUTE
        return Permission.KERNEL_EXECUTE

    def _refusing(self, vp: "VirtualProcessor", gpa: int, needed: int) -> int | None:
        """Return the VTL that forbids the active one an access, or None."""
        page, vtl = gpa // PAGE_SIZE, vp.active_vtl
        memory = self._partition.memory
        offset = memory.ram_offset(page)
        if offset is None or memory.has_overlay(page, vtl):
            return None
        return self.protections.first_refusal(offset // PAGE_SIZE, vtl, needed)

    def register_intercept(
        self,
        vp: "VirtualProcessor",
        name: int,
        value: int,
        instruction: bytes = b"",
        *,
        memory_operand: bool = False,
    ) -> bool:
        """Tell a higher VTL of the write of CR0, CR4, XCR0, GDTR, IDTR, LDTR or TR, if it wants.

        Args:
            vp: the virtual processor, its registers as before the instruction.
            name: `RegisterName`.
            value: the value that is written, or the address of a memory operand.
            instruction: the bytes of code at RIP, up to 16, as for `memory_violation`.
            memory_operand: `value` is the address of the operand.

        Returns:
            True when an intercept is on its way: the instruction must not retire.
        """
        if not vp.current.intercepted:
            return False
        length = self._length(vp, instruction)
        return intercepts.register_intercept(vp, name, value, length, memory_operand=memory_operand)

    def table_intercept(self, vp: "VirtualProcessor", name: int, instruction: bytes) -> bool:
        """Tell a higher VTL of LGDT, LIDT, LLDT or LTR, if it wants, with what they load.

        That is the selector of a register operand, or the linear address of one in memory.

        Args:
            vp: the virtual processor, its registers as before the instruction.
            name: `RegisterName` of the register that is loaded.
            instruction: the bytes of code at RIP, up to 16, as for `memory_violation`.

        Returns:
            True when an intercept is on its way: the instruction must not retire.
        """
        read = partial(self._partition.effects.read_register, vp, vp.active_vtl)
        operand = two_byte_operand(instruction, self._code_bits(vp), read)
        if operand is None or operand.register is None:
            address = operand.address if operand else 0
            return self.register_intercept(vp, name, address, instruction, memory_operand=True)
        return self.register_intercept(vp, name, read(operand.register) & _SELECTOR, instruction)

    def _length(self, vp: "VirtualProcessor", instruction: bytes) -> int:
        """Return the length of the instruction in the mode of the VP, or 0 if it is not known."""
        return instruction_length(instruction, self._code_bits(vp))

    def _code_bits(self, vp: "VirtualProcessor") -> int:
        """Return the operating mode of the VP's code: 16, 32 or 64."""
        cs = self._partition.effects.read_register(vp, vp.active_vtl, RegisterName.CS)
        return 64 if cs & _CS_LONG else 32 if cs & _CS_BIG else 16

    def msr_intercept(
        self, vp: "VirtualProcessor", index: int, value: int | None = None, old: int | None = None
    ) -> bool:
        """Tell a higher VTL of RDMSR or WRMSR, if it wants; `MsrFile` asks for the MSRs it has.

        Args:
            vp: the virtual processor, its registers as before the instruction.
            index: the MSR.
            value: what is written, or None for a read.
            old: the value before a write; of use only for IA32_MISC_ENABLE.

        Returns:
            True when an intercept is on its way: the instruction must not retire.
        """
        return bool(vp.current.intercepted) and intercepts.msr_intercept(vp, index, old, value)

    def intercepts_changed(self, vp: "VirtualProcessor") -> None:
        """Work out anew what is intercepted in each VTL of a virtual processor."""
        for vtl, state in vp.vtls.items():
            wanted = 0
            for higher, each in vp.vtls.items():
                if higher > vtl:
                    wanted |= each.secure.intercept_control
            if wanted != state.intercepted:
                state.intercepted = wanted
                self._partition.effects.intercepts_changed(vp, vtl)
