"""What a virtual processor has once per VTL for the sake of Virtual Secure Mode itself."""

from typing import TYPE_CHECKING

from hypercall.tlfs.assist_page import VINA_STATUS_OFFSET
from hypercall.tlfs.registers import (
    SECURE_CONFIG_MBEC_ENABLED,
    SECURE_CONFIG_TLB_LOCKED,
    VINA_AUTO_EOI,
    VINA_ENABLED,
    VINA_VECTOR,
)

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl
    from hypercall.tlfs.initial_context import InitialVpContext

ALL_BITS = (1 << 64) - 1
_VINA_ASSERTED = 1


class SecureState:
    """The Virtual Secure Mode state of one VTL of one virtual processor (TLFS ``vsm``).

    Attributes:
        context: the registers of its first entry; None in VTL 0.
        long_mode: it is a 64-bit VTL; a VTL above 0 cannot change that (TLFS 6.0b page 164).
        entered: it has run since it was enabled.
        started: it can run: it was started, or it is a VTL above 0.
        scrubbed: it is as just enabled again, and may be given another context.
        config: VsmVpSecureConfigVtlN by the lower VTL N.
        vina: the VsmVina register.
        intercept_control: the CrInterceptControl register.
        cr0_mask, cr4_mask, misc_enable_mask: the mask registers; all ones masks nothing.
        must_enter: an intercept waits for it, so that it runs next, whatever its TPR is.
        nmi_waits: a non-maskable interrupt of it waits, because another VTL runs.
        intercept_queued: the message of an intercept still waits for its slot.
        pending_event: the PENDING_EVENT0 register until the VTL runs.
    """

    __slots__ = (
        "_asserted",
        "_owner",
        "config",
        "context",
        "cr0_mask",
        "cr4_mask",
        "entered",
        "intercept_control",
        "intercept_queued",
        "long_mode",
        "misc_enable_mask",
        "must_enter",
        "nmi_waits",
        "pending_event",
        "scrubbed",
        "started",
        "vina",
    )

    def __init__(self, owner: "VirtualProcessorVtl") -> None:
        self._owner = owner
        self.reset()

    def reset(self) -> None:
        """Go to the state of a VTL that was just enabled, without its context."""
        self.context: InitialVpContext | None = None
        self.long_mode = False
        self.entered = False
        self.started = bool(self._owner.vtl) or self._owner.vp.bootstrap
        self.scrubbed = False
        self.config: dict[int, int] = {}
        self.vina = 0
        self.intercept_control = 0
        self.cr0_mask = ALL_BITS
        self.cr4_mask = ALL_BITS
        self.misc_enable_mask = ALL_BITS
        self.must_enter = False
        self.nmi_waits = False
        self.intercept_queued = False
        self.pending_event = 0
        self._asserted = False

    # --- what it configures for lower VTLs ------------------------------------------------------

    def locks_translations(self, vtl: int) -> bool:
        """Return whether it has locked the TLB of a lower VTL on this VP."""
        return bool(SECURE_CONFIG_TLB_LOCKED.get(self.config.get(vtl, 0)))

    def release_locks(self) -> bool:
        """Unlock the TLBs of all lower VTLs on this VP, and return whether one was locked."""
        locked = False
        for vtl, value in self.config.items():
            locked |= self.locks_translations(vtl)
            self.config[vtl] = SECURE_CONFIG_TLB_LOCKED.set(value, 0)
        return locked

    def enables_mbec(self, vtl: int) -> bool:
        """Return whether it has enabled mode-based execute control for a lower VTL on this VP."""
        return bool(SECURE_CONFIG_MBEC_ENABLED.get(self.config.get(vtl, 0)))

    # --- virtual interrupt notification assist ---------------------------------------------------

    def write_vina(self, value: int) -> None:
        """Set the VsmVina register."""
        self.vina = value
        vector = VINA_VECTOR.get(value)
        ends_itself = VINA_ENABLED.get(value) and VINA_AUTO_EOI.get(value)
        self._owner.synic.set_notification_vector(1 << vector if ends_itself else 0)

    @property
    def vina_asserted(self) -> bool:
        """Whether it was notified already; the guest sees and clears this in its assist page."""
        view = self._owner.assist_page.view
        return self._asserted if view is None else bool(view[VINA_STATUS_OFFSET] & _VINA_ASSERTED)

    @vina_asserted.setter
    def vina_asserted(self, asserted: bool) -> None:
        self._asserted = asserted
        view = self._owner.assist_page.view
        if view is not None:
            view[VINA_STATUS_OFFSET] = view[VINA_STATUS_OFFSET] & ~_VINA_ASSERTED | int(asserted)
