"""A virtual processor: its identity, its run state, and what is private to each of its VTLs."""

from typing import TYPE_CHECKING

from hypercall.partition.local_apic import LocalApic
from hypercall.partition.overlay_register import OverlayRegister
from hypercall.partition.run_state import RunState
from hypercall.partition.secure_state import SecureState
from hypercall.partition.synic import Synic
from hypercall.partition.synthetic_timers import TIMER_COUNT, SyntheticTimer
from hypercall.partition.vina import notify_of_lower_interrupts

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.tlfs.initial_context import InitialVpContext


HIGHEST_VTL = 2
"""The highest VTL that a configuration can have; the TLFS leaves room for 15."""


class VirtualProcessorVtl:
    """What a virtual processor has once per VTL (TLFS, VSM, private state).

    The machine keeps the private registers; here is what the hypervisor itself emulates.

    Attributes:
        vp: the virtual processor.
        vtl: the number of the VTL.
        partition: the partition.
        apic: the local APIC.
        synic: the synthetic interrupt controller.
        timers: the synthetic timers 0 to 3.
        assist_page: the VP assist page register and page.
        tsc_offset: what is added to the partition's TSC, in ticks; two's complement free integer.
        msrs: registers that only keep their value, by MSR number.
        secure: its state of Virtual Secure Mode.
        intercepted: what higher VTLs intercept here, as bits of CrInterceptControl.
    """

    __slots__ = (
        "apic",
        "assist_page",
        "intercepted",
        "msrs",
        "partition",
        "secure",
        "synic",
        "timers",
        "tsc_offset",
        "vp",
        "vtl",
    )

    def __init__(self, vp: "VirtualProcessor", vtl: int) -> None:
        self.vp = vp
        self.vtl = vtl
        self.partition = vp.partition
        self.assist_page = OverlayRegister(vp.partition.memory, vtl)
        self.tsc_offset: int = 0
        self.msrs: dict[int, int] = {}
        self.apic: LocalApic = LocalApic(self, bootstrap=vp.bootstrap)
        self.synic = Synic(self)
        self.timers = tuple(SyntheticTimer(self, index) for index in range(TIMER_COUNT))
        self.secure = SecureState(self)
        self.intercepted = 0

    def reset(self) -> None:
        """Go to the state after a reset of the partition."""
        for timer in self.timers:
            timer.reset()
        self.synic.reset()
        self.assist_page.reset()
        self.tsc_offset = 0
        self.msrs.clear()
        self.secure.reset()
        self.intercepted = 0
        self.apic.reset()
        self.apic = LocalApic(self, bootstrap=self.vp.bootstrap)


class VirtualProcessor:
    """A virtual processor of a partition.

    Attributes:
        partition: the partition.
        index: the VP index, by which hypercalls name it.
        apic_id: the APIC id, by which interrupts name it.
        bootstrap: it is the one that the machine starts by itself.
        run_state: whether it could run.
        active_vtl: the VTL that it runs in.
        vtls: its state by VTL; VTL 0 always, further ones once they are enabled on it.
    """

    __slots__ = (
        "active_vtl",
        "apic_id",
        "bootstrap",
        "index",
        "partition",
        "run_state",
        "vtls",
    )

    def __init__(
        self, partition: "Partition", index: int, apic_id: int, *, bootstrap: bool
    ) -> None:
        self.partition = partition
        self.index = index
        self.apic_id = apic_id
        self.bootstrap = bootstrap
        self.run_state = RunState.RUNNING if bootstrap else RunState.WAITING_FOR_START_UP
        self.active_vtl = 0
        self.vtls: dict[int, VirtualProcessorVtl] = {0: VirtualProcessorVtl(self, 0)}

    @property
    def current(self) -> VirtualProcessorVtl:
        """The state of the VTL that the VP runs in."""
        return self.vtls[self.active_vtl]

    @property
    def highest_vtl(self) -> int:
        """The highest VTL enabled on the VP."""
        return max(self.vtls)

    def vtl_enabled(self, vtl: int) -> bool:
        """Return whether a VTL is enabled on the VP."""
        return vtl in self.vtls

    def new_vtl(self, vtl: int) -> VirtualProcessorVtl:
        """Give the VP the state of a VTL that it did not have."""
        state = self.vtls[vtl] = VirtualProcessorVtl(self, vtl)
        return state

    def _obeys_start_up(self, vtl: int) -> bool:
        """Return whether INIT and start-up messages of a VTL have an effect.

        VTLs above 0 never start in real mode. One that is enabled keeps those of lower VTLs out,
        and so does one that denies startup (TLFS, VSM, INIT and SIPI, DenyLowerVtlStartup).
        """
        return not vtl and not self.highest_vtl and not self.partition.vsm.denies_startup(vtl)

    def nmi(self, vtl: int) -> None:
        """Receive a non-maskable interrupt of a VTL.

        It is an interrupt like others to the other VTLs, but no task priority holds it back
        (inferred: the TLFS has interrupts of a VTL and does not single this one out).
        """
        self.vtls[vtl].secure.nmi_waits = vtl != self.active_vtl
        self.partition.effects.nmi(self, vtl)
        self.interrupt_requested(vtl)

    def init(self, vtl: int = 0) -> None:
        """Receive an INIT: the processor resets and waits for its start-up message."""
        if not self._obeys_start_up(vtl):
            return
        self.vtls[vtl].apic.reset()
        self.vtls[vtl].secure.nmi_waits = False
        if not self.bootstrap:
            self.vtls[vtl].secure.started = False
            self.run_state = RunState.WAITING_FOR_START_UP
        self.partition.effects.init_processor(self)

    def start_up(self, vector: int, vtl: int = 0) -> None:
        """Receive a start-up message, which only a processor that waits for it obeys."""
        waits = self.run_state is RunState.WAITING_FOR_START_UP
        if not waits or not self._obeys_start_up(vtl):
            return
        self.vtls[vtl].secure.started = True
        self.run_state = RunState.RUNNING
        self.partition.effects.startup_processor(self, vector)

    def start(self, vtl: int, context: "InitialVpContext") -> None:
        """Start in a VTL with the given registers: INIT and a jump (HvCallStartVirtualProcessor).

        Higher VTLs that are prepared and have not run yet run first, the highest of them at once;
        the given registers wait for their return.

        Args:
            vtl: a VTL enabled on the VP.
            context: the registers; the caller has checked them.
        """
        state = self.vtls[vtl]
        state.apic.reset()
        state.secure.started = True
        state.secure.nmi_waits = False
        first = [each for each in self.vtls if each > vtl and not self.vtls[each].secure.entered]
        if self.run_state is RunState.RUNNING:
            first.append(self.active_vtl)
        self.active_vtl = max(vtl, *first) if first else vtl
        self.current.secure.entered = True
        self.current.secure.nmi_waits = False
        self.run_state = RunState.RUNNING
        self.partition.effects.start_processor(self, vtl, context)

    def interrupting_vtl(self) -> int | None:
        """Return the highest VTL above the active one that has to run now, or None.

        It has an interrupt that its task priority allows, whatever RFLAGS.IF of either VTL is
        (TLFS, VSM, virtual interrupt management), a non-maskable one, or an intercept waits.
        """
        vtls = self.vtls
        if len(vtls) == 1:
            return None
        for vtl in range(HIGHEST_VTL, self.active_vtl, -1):
            state = vtls.get(vtl)
            if state is None:
                continue
            secure = state.secure
            if secure.must_enter or secure.nmi_waits:
                return vtl
            if state.apic.irr and state.apic.pending_vector():
                return vtl
        return None

    def next_higher_vtl(self) -> int | None:
        """Return the lowest VTL above the active one that is enabled on the VP, or None."""
        for vtl in range(self.active_vtl + 1, HIGHEST_VTL + 1):
            if vtl in self.vtls:
                return vtl
        return None

    def next_lower_vtl(self) -> int | None:
        """Return the highest VTL below the active one that is enabled on the VP, or None."""
        for vtl in range(self.active_vtl - 1, -1, -1):
            if vtl in self.vtls:
                return vtl
        return None

    def interrupt_requested(self, vtl: int) -> None:
        """React to an interrupt that a VTL of the VP could take if it ran with interrupts on.

        A higher VTL that holds back a lower one's may hear of it. A VP that waits for its start-up
        is entered at a higher VTL at once.
        """
        if vtl < self.active_vtl:
            notify_of_lower_interrupts(self)
        elif vtl > self.active_vtl and self.run_state is RunState.WAITING_FOR_START_UP:
            self.partition.vsm.interrupt_entry(self, vtl)
        self.partition.effects.interrupt_changed(self)

    def pending_vector(self) -> int | None:
        """Return the vector that the VP would take now in the VTL it runs in, or None."""
        return self.vtls[self.active_vtl].apic.pending_vector()

    def reset(self) -> None:
        """Go to the state after a reset of the partition, with VTL 0 alone."""
        for vtl, state in self.vtls.items():
            state.reset()
            if vtl:
                self.partition.effects.vtl_disabled(self, vtl)
        self.vtls = {0: self.vtls[0]}
        self.active_vtl = 0
        self.run_state = RunState.RUNNING if self.bootstrap else RunState.WAITING_FOR_START_UP


__all__ = ["RunState", "VirtualProcessor", "VirtualProcessorVtl"]
