"""The channel between a guest and its debugger: bytes both ways, in two bounded buffers.

Sources: TLFS 2.0a pages 199-203 for what a session keeps; its sizes are inferred.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

CAPACITY = 1 << 16
"""How many bytes each of the two buffers holds; the TLFS gives no size."""


@dataclass(frozen=True, slots=True)
class ConnectionAddresses:
    """The two ends of the connection that carries the channel, as QEMU reports them.

    Attributes:
        host: the debugger's IPv4 address.
        target: the guest's IPv4 address.
        host_port: the debugger's port.
        target_port: the guest's port.
    """

    host: int = 0
    target: int = 0
    host_port: int = 0
    target_port: int = 0


class DebugChannel:
    """The debug session of a partition.

    The guest posts and retrieves by hypercalls or by the SYNDBG registers; whoever debugs it
    sends and receives.

    Args:
        capacity: how many bytes each buffer holds.

    Attributes:
        addresses: the ends of the connection that carries the channel.
        capacity: how many bytes each buffer holds; what is in it stays if that becomes less.
        listeners: called with no arguments whenever the debugger has sent something, or the guest
            has taken or dropped what there was.
        on_exchange: called whenever the debugger has connected, sent or received, with what it
            sent and the number of bytes that it took.
        on_full: called with no arguments whenever something that the guest posts finds no room.
    """

    not_state: ClassVar[tuple[str, ...]] = ("listeners", "on_exchange")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.addresses = ConnectionAddresses()
        self.listeners: list[Callable[[], None]] = []
        self.on_exchange: Callable[[bytes, int], None] | None = None
        self.capacity = capacity
        self.on_full: Callable[[], None] | None = None
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._activity = False

    @property
    def outgoing_count(self) -> int:
        """The bytes that the guest has posted and nobody has received yet."""
        return len(self._outgoing)

    @property
    def incoming_count(self) -> int:
        """The bytes that the debugger has sent and the guest has not retrieved yet."""
        return len(self._incoming)

    @property
    def room(self) -> int:
        """How many more bytes the debugger could send."""
        return max(0, self.capacity - len(self._incoming))

    # --- the debugger's end --------------------------------------------------------------------

    def connect(self, addresses: ConnectionAddresses) -> None:
        """Say what the two ends of the connection are from now on."""
        self.addresses = addresses
        self._exchanged(b"", 0)

    def _exchanged(self, sent: bytes, taken: int) -> None:
        if self.on_exchange is not None:
            self.on_exchange(sent, taken)

    def send(self, data: bytes) -> int:
        """Send bytes to the guest.

        Returns:
            How many there was room for, from the first on.
        """
        taken = data[: self.room]
        if taken:
            self._exchanged(taken, 0)
            self._incoming += taken
            self._activity = True
            self._tell()
        return len(taken)

    def receive(self, limit: int | None = None) -> bytes:
        """Take bytes that the guest has posted, at most `limit`."""
        data = bytes(self._outgoing if limit is None else self._outgoing[:limit])
        del self._outgoing[: len(data)]
        if data:
            self._exchanged(b"", len(data))
        return data

    # --- the guest's end -----------------------------------------------------------------------

    def post(self, data: bytes) -> bool:
        """Post bytes to the debugger, all or none.

        Returns:
            Whether there was room.
        """
        if len(data) > self.capacity - len(self._outgoing):
            self._tell_full()
            return False
        self._outgoing += data
        return True

    def post_part(self, data: bytes) -> int:
        """Post as many bytes as there is room for, and return how many that were."""
        count = min(len(data), max(0, self.capacity - len(self._outgoing)))
        self._outgoing += data[:count]
        if count < len(data):
            self._tell_full()
        return count

    def retrieve(self, limit: int) -> bytes:
        """Take bytes that the debugger has sent, at most `limit`."""
        data = bytes(self._incoming[:limit])
        if data:
            del self._incoming[: len(data)]
            self._tell()
        return data

    def take_activity(self) -> bool:
        """Return whether anything arrived since this was last asked."""
        activity, self._activity = self._activity, False
        return activity

    def purge(self, *, incoming: bool, outgoing: bool) -> bool:
        """Drop what is buffered; return whether there was anything to drop."""
        dropped = False
        if outgoing and self._outgoing:
            self._outgoing.clear()
            dropped = True
        if incoming and self._incoming:
            self._incoming.clear()
            dropped = True
            self._tell()
        return dropped

    def reset(self) -> None:
        """Forget everything buffered, as a reset of the partition does."""
        self.purge(incoming=True, outgoing=False)
        self._activity = False

    def _tell(self) -> None:
        for listener in self.listeners:
            listener()

    def _tell_full(self) -> None:
        if self.on_full is not None:
            self.on_full()
