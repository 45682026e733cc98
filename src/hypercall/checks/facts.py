"""What rules may know beside the events: the partition that a guest runs in, as far as known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hypercall.trace.description import RunDescription


class MessageSlot(NamedTuple):
    """A message slot of a virtual processor.

    Attributes:
        vtl: the VTL whose slot it is.
        sint: the SINT, 0 to 15.
        full: whether a message is in it.
        waiting: how many wait for it to be empty.
    """

    vtl: int
    sint: int
    full: bool
    waiting: int


class Facts:
    """What is known of a partition of which there is only a recorded trace: nothing.

    A live machine gives the same answers with knowledge (`hypercall.checks.machine_facts`). None
    always means that it is not known, and then the rules that need it say nothing.

    Attributes:
        recommendations: CPUID 0x40000004.EAX.
        features: CPUID 0x40000003.EDX.
        privileges: the partition privilege mask.
        spin_retry_count: CPUID 0x40000004.EBX.
        apic_ids: the APIC id by VP index.
        from_start: whether everything that the guest has ever done is seen.
        is_complete: whether the events have all that happens, and records all of their input.
        calls_prove_os_id: whether a call that is seen shows that the guest has set its OS id, as
            with KVM, which takes others for calls of its own interface.
    """

    recommendations: int | None = None
    features: int | None = None
    privileges: int | None = None
    spin_retry_count: int | None = None
    apic_ids: Mapping[int, int] | None = None
    from_start: bool = False
    is_complete: bool = False
    calls_prove_os_id: bool = False

    def hypercalls_enabled(self, vtl: int) -> bool | None:
        """Return whether a VTL has an enabled hypercall interface now."""
        return None

    def has_started(self, vp_index: int) -> bool | None:
        """Return whether a virtual processor has ever run."""
        return None

    def unwritten(self, gpa: int, size: int, vtl: int) -> int | None:
        """Return the first guest-physical address in a list whose page nothing ever wrote."""
        return None

    def caller_privilege(self) -> int | None:
        """Return the current privilege level of the caller, 0 to 3."""
        return None

    def code(self, address: int, length: int) -> bytes:
        """Return code at a guest-virtual address of the running processor, or less, or nothing."""
        return b""

    def word_size(self) -> int:
        """Return 64, or 32 where the running processor's code has another word size."""
        return 64

    def message_slots(self, vp_index: int) -> list[MessageSlot]:
        """Return the message slots of a virtual processor whose SINTs can get messages now."""
        return []

    def shared_registers(self, vp_index: int, vtl: int) -> dict[str, int]:
        """Return the registers that the VTLs of a virtual processor share, by their names."""
        return {}

    def device_writes(self) -> int | None:
        """Return how often the guest has written to device memory."""
        return None


class DescribedFacts(Facts):
    """What a trace tells of the run that it was recorded from."""

    def __init__(self, description: RunDescription) -> None:
        """Know what a description tells."""
        self.recommendations = description.recommendations
        self.features = description.features
        self.privileges = description.privileges
        self.calls_prove_os_id = description.source == "kvm"
