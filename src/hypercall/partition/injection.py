"""Who may keep from a processor what it should get, so that a guest meets what seldom happens."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hypercall.partition.ports import HostMessagePort, MessagePort
    from hypercall.partition.synic import QueuedMessage
    from hypercall.partition.synthetic_timers import SyntheticTimer
    from hypercall.partition.virtual_processor import VirtualProcessorVtl


class Injection(Protocol):
    """Decides what arrives; a partition asks it just before something would.

    Who delays something delivers it later in the same way as the first time, and says then that
    nothing is to be taken.
    """

    def takes_interrupt(self, owner: "VirtualProcessorVtl", vector: int, level: bool) -> bool:
        """Return whether an interrupt that a local APIC is about to accept is taken away."""

    def takes_message(
        self, owner: "VirtualProcessorVtl", sint: int, message: "QueuedMessage"
    ) -> bool:
        """Return whether a message that is about to be queued is taken away."""

    def takes_expiration(self, timer: "SyntheticTimer", expiration: int) -> bool:
        """Return whether the signal of a timer that has expired is taken away."""

    def port_full(self, port: "MessagePort | HostMessagePort") -> bool:
        """Return whether a port has no buffer for another message."""
