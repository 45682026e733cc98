"""What a change of the partition's state does to the processors: the boundary to the machine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from hypercall.tlfs.registers import RegisterName

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessor
    from hypercall.tlfs.call_flags import HeatType
    from hypercall.tlfs.initial_context import InitialVpContext


SHARED_GENERAL_REGISTERS = tuple(
    name for name in range(RegisterName.RAX, RegisterName.R15 + 1) if name != RegisterName.RSP
)
"""The general registers that the VTLs of a virtual processor share: all but RSP."""


class TranslationFlush(NamedTuple):
    """Virtual address translations that must be gone when the effect returns.

    Dropping more than asked is allowed (TLFS, HvCallFlushVirtualAddressSpace).

    Attributes:
        targets: the virtual processors whose translations go, the caller possibly among them.
        vtl: the VTL whose translations go.
        address_space: the CR3 value they belong to, or None for all address spaces.
        ranges: (first byte address, page count) of each range in pages of 4096 bytes, or None for
            all addresses.
        keep_globals: whether translations of global pages may stay.
    """

    targets: "tuple[VirtualProcessor, ...]"
    vtl: int
    address_space: int | None
    ranges: tuple[tuple[int, int], ...] | None = None
    keep_globals: bool = False


class Effects(Protocol):
    """What the partition asks of the machine that runs its processors."""

    def flush_translations(self, flush: TranslationFlush) -> None:
        """Drop virtual address translations; complete for every target on return."""

    def interrupt_changed(self, vp: "VirtualProcessor") -> None:
        """What the VP's local APICs could deliver has changed: wake it, or look at it soon."""

    def yield_turn(self, vp: "VirtualProcessor") -> None:
        """End the VP's turn early: it waits for another processor."""

    def idle(self, vp: "VirtualProcessor") -> None:
        """Let the VP rest until an interrupt is pending for it, whatever its IF is."""

    def suspend(self, vp: "VirtualProcessor") -> None:
        """Let the VP rest on the call that it makes, until `resume` or an interrupt it can take."""

    def resume(self, vp: "VirtualProcessor") -> None:
        """Let a VP that was suspended issue its call again; others do not notice."""

    def start_processor(
        self, vp: "VirtualProcessor", vtl: int, context: "InitialVpContext"
    ) -> None:
        """Start a VP in a VTL with the given registers, the others as after INIT."""

    def init_processor(self, vp: "VirtualProcessor") -> None:
        """Put the VP into the state after INIT; it runs no code until its start-up message."""

    def startup_processor(self, vp: "VirtualProcessor", vector: int) -> None:
        """Start a VP that waits for it in real mode at ``vector << 12``."""

    def nmi(self, vp: "VirtualProcessor", vtl: int) -> None:
        """Make a non-maskable interrupt pending in a VTL of the VP, which takes it when it runs.

        Whether the VP wakes up is to be seen at the `interrupt_changed` that follows.
        """

    def read_register(self, vp: "VirtualProcessor", vtl: int, name: int) -> int:
        """Return a register of the processor itself, by HV_REGISTER_NAME.

        16-byte registers (segments, tables, XMM) come as the HV_REGISTER_VALUE read as one
        little-endian number.

        Raises:
            KeyError: the machine's processors have no such register.
        """

    def write_register(self, vp: "VirtualProcessor", vtl: int, name: int, value: int) -> None:
        """Set a register of the processor itself, by HV_REGISTER_NAME; without side effects.

        Raises:
            KeyError: the machine's processors have no such register.
        """

    def tsc_offset_changed(self, vp: "VirtualProcessor", vtl: int) -> None:
        """What is added to the TSC for this VP in this VTL is now ``vp.vtls[vtl].tsc_offset``."""

    def run_time(self, vp: "VirtualProcessor") -> int:
        """Return how long the VP has run so far, in nanoseconds."""

    def vtl_enabled(self, vp: "VirtualProcessor", vtl: int, context: "InitialVpContext") -> None:
        """The VP has a VTL more: its private registers are the given ones, others as after INIT.

        It does not run yet. The same effect for a VTL that is there already gives it those
        registers anew.
        """

    def vtl_disabled(self, vp: "VirtualProcessor", vtl: int) -> None:
        """The private registers and the translations of a VTL of the VP are gone."""

    def switch_vtl(self, vp: "VirtualProcessor", source: int, target: int) -> None:
        """The VP runs the private state of another VTL from now on; ``vp.active_vtl`` says so.

        Shared registers (the general ones but RSP, x87, XMM, XCR0, CR2, DR0 to DR3, and DR6 where
        it is shared) keep their values. The instruction pointer of the source stays as it is.
        What the VP can take, and by ``vp.run_state`` whether it runs at all, is to be seen anew.
        """

    def protection_changed(self, vtl: int, pages: Sequence[int] | None) -> None:
        """What code in a VTL may do with guest-physical pages has changed, for every VP.

        Args:
            vtl: the VTL that is restricted; `GuestMemory.resolve` gives what it may do now.
            pages: the page numbers, or None for all of them.
        """

    def intercepts_changed(self, vp: "VirtualProcessor", vtl: int) -> None:
        """Which register accesses in a VTL of the VP are intercepted has changed.

        ``vp.vtls[vtl].intercepted`` holds the bits of HvX64RegisterCrInterceptControl.
        """

    def inject_exception(
        self, vp: "VirtualProcessor", vtl: int, vector: int, error_code: int | None, parameter: int
    ) -> None:
        """Raise an exception before the next instruction of a VTL of the VP.

        Args:
            vp: the VP.
            vtl: the VTL, which need not be the active one.
            vector: 0 to 31.
            error_code: the error code, or None for an exception that has none.
            parameter: the address of a page fault, or what goes to DR6 for a debug exception.
        """

    def set_address_space(self, vp: "VirtualProcessor", vtl: int, cr3: int) -> None:
        """Set CR3 without dropping a translation."""

    def deadline_changed(self) -> None:
        """The earliest deadline of the timer queue may have become another."""

    def reset(self) -> None:
        """The guest asked for a reset of the partition."""

    def untouched_ranges(self) -> list[tuple[int, int]]:
        """Return (first page, page count) of the RAM that nothing has ever written."""

    def hint_memory(self, heat: "HeatType", first_page: int, page_count: int) -> None:
        """Give pages of RAM back to the host, with or without their content, or bring them in."""

    def crash(self, parameters: Sequence[int], message: bytes | None) -> None:
        """The guest reports that it has crashed.

        Args:
            parameters: the five crash parameters.
            message: the text that it left in memory, if it says that it did.
        """


class Effect(NamedTuple):
    """One effect as `RecordingEffects` keeps it.

    Attributes:
        name: the name of the method of `Effects`.
        arguments: what it was called with.
    """

    name: str
    arguments: tuple[Any, ...]


@dataclass(slots=True)
class RecordingEffects:
    """Effects without a machine: everything asked for is kept in a list.

    Attributes:
        effects: the effects so far, oldest first.
        registers: the processor registers, by (VP index, VTL, register name); absent ones read 0.
        untouched: what `untouched_ranges` returns.
    """

    effects: list[Effect] = field(default_factory=list)
    registers: dict[tuple[int, int, int], int] = field(default_factory=dict)
    untouched: list[tuple[int, int]] = field(default_factory=list)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Return the arguments of every effect of one name, oldest first."""
        return [effect.arguments for effect in self.effects if effect.name == name]

    def clear(self) -> None:
        """Forget the effects so far; the registers stay."""
        self.effects.clear()

    def _record(self, name: str, *arguments: Any) -> None:
        self.effects.append(Effect(name, arguments))

    def flush_translations(self, flush: TranslationFlush) -> None:
        """Record the effect."""
        self._record("flush_translations", flush)

    def interrupt_changed(self, vp: "VirtualProcessor") -> None:
        """Record the effect."""
        self._record("interrupt_changed", vp)

    def yield_turn(self, vp: "VirtualProcessor") -> None:
        """Record the effect."""
        self._record("yield_turn", vp)

    def idle(self, vp: "VirtualProcessor") -> None:
        """Record the effect."""
        self._record("idle", vp)

    def suspend(self, vp: "VirtualProcessor") -> None:
        """Record the effect."""
        self._record("suspend", vp)

    def resume(self, vp: "VirtualProcessor") -> None:
        """Record the effect."""
        self._record("resume", vp)

    def start_processor(
        self, vp: "VirtualProcessor", vtl: int, context: "InitialVpContext"
    ) -> None:
        """Record the effect."""
        self._record("start_processor", vp, vtl, context)

    def init_processor(self, vp: "VirtualProcessor") -> None:
        """Record the effect."""
        self._record("init_processor", vp)

    def startup_processor(self, vp: "VirtualProcessor", vector: int) -> None:
        """Record the effect."""
        self._record("startup_processor", vp, vector)

    def nmi(self, vp: "VirtualProcessor", vtl: int) -> None:
        """Record the effect."""
        self._record("nmi", vp, vtl)

    def read_register(self, vp: "VirtualProcessor", vtl: int, name: int) -> int:
        """Return what was last written to the register, or 0."""
        return self.registers.get((vp.index, vtl, name), 0)

    def write_register(self, vp: "VirtualProcessor", vtl: int, name: int, value: int) -> None:
        """Record the effect and keep the value."""
        self.registers[vp.index, vtl, name] = value
        self._record("write_register", vp, vtl, name, value)

    def tsc_offset_changed(self, vp: "VirtualProcessor", vtl: int) -> None:
        """Record the effect."""
        self._record("tsc_offset_changed", vp, vtl)

    def run_time(self, vp: "VirtualProcessor") -> int:
        """Return the partition's whole time: a VP without a machine rests never."""
        return vp.partition.clock.now()

    def vtl_enabled(self, vp: "VirtualProcessor", vtl: int, context: "InitialVpContext") -> None:
        """Record the effect."""
        self._record("vtl_enabled", vp, vtl, context)

    def vtl_disabled(self, vp: "VirtualProcessor", vtl: int) -> None:
        """Record the effect."""
        self._record("vtl_disabled", vp, vtl)

    def switch_vtl(self, vp: "VirtualProcessor", source: int, target: int) -> None:
        """Record the effect and carry the shared general registers over."""
        for name in SHARED_GENERAL_REGISTERS:
            if (vp.index, source, name) in self.registers:
                self.registers[vp.index, target, name] = self.registers[vp.index, source, name]
        self._record("switch_vtl", vp, source, target)

    def protection_changed(self, vtl: int, pages: Sequence[int] | None) -> None:
        """Record the effect."""
        self._record("protection_changed", vtl, None if pages is None else tuple(pages))

    def intercepts_changed(self, vp: "VirtualProcessor", vtl: int) -> None:
        """Record the effect."""
        self._record("intercepts_changed", vp, vtl)

    def inject_exception(
        self, vp: "VirtualProcessor", vtl: int, vector: int, error_code: int | None, parameter: int
    ) -> None:
        """Record the effect."""
        self._record("inject_exception", vp, vtl, vector, error_code, parameter)

    def set_address_space(self, vp: "VirtualProcessor", vtl: int, cr3: int) -> None:
        """Record the effect and keep the value."""
        self.registers[vp.index, vtl, RegisterName.CR3] = cr3
        self._record("set_address_space", vp, vtl, cr3)

    def deadline_changed(self) -> None:
        """Do nothing: without a machine nobody waits for deadlines."""

    def reset(self) -> None:
        """Record the effect."""
        self._record("reset")

    def untouched_ranges(self) -> list[tuple[int, int]]:
        """Return `untouched`."""
        return list(self.untouched)

    def hint_memory(self, heat: "HeatType", first_page: int, page_count: int) -> None:
        """Record the effect."""
        self._record("hint_memory", heat, first_page, page_count)

    def crash(self, parameters: Sequence[int], message: bytes | None) -> None:
        """Record the effect."""
        self._record("crash", tuple(parameters), message)
