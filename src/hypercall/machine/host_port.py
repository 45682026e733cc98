"""A port that Python code holds: what a guest sends arrives here, and answers go into its SynIC."""

from collections.abc import Callable, Iterator
from typing import Literal

from hypercall.errors import InputError
from hypercall.partition.partition import Partition
from hypercall.partition.ports import (
    MESSAGE_BUFFERS,
    EventPort,
    HostEventPort,
    HostMessagePort,
    MessagePort,
    PostedMessage,
    SignaledEvent,
    SintTarget,
)
from hypercall.partition.synic import EVENT_FLAGS_PER_SINT
from hypercall.tlfs.messages import HYPERVISOR_MESSAGE
from hypercall.tlfs.status import HvStatus

MessageReceiver = Callable[[PostedMessage], bool | None]
EventReceiver = Callable[[SignaledEvent], object]


class HostPort:
    """A port of the host with a connection from the guest, and a way back (TLFS, Ports).

    Made by `Machine.port`, whose arguments it has.

    Attributes:
        connection_id: by which the guest names it.
        kind: ``"messages"`` or ``"events"``, what it takes from the guest.
        minimum_vtl: the lowest VTL that may use the connection.
        target: where in the guest Python's messages and events go, or None.
    """

    def __init__(
        self,
        partition: Partition,
        connection_id: int,
        kind: Literal["messages", "events"] = "messages",
        *,
        sint: int | None = None,
        vp_index: int = 0,
        vtl: int = 0,
        minimum_vtl: int = 0,
        buffers: int = MESSAGE_BUFFERS,
        flag_count: int = EVENT_FLAGS_PER_SINT,
    ) -> None:
        if kind not in ("messages", "events"):
            raise InputError(f"a port cannot take {kind!r}: give 'messages' or 'events'")
        _check_vtl(partition, vtl, "vtl")
        _check_vtl(partition, minimum_vtl, "minimum_vtl")
        if buffers < 1:
            raise InputError(f"a port with {buffers} buffers takes nothing: give at least 1")
        if not 1 <= flag_count <= EVENT_FLAGS_PER_SINT:
            raise InputError(
                f"a port cannot have {flag_count} event flags: "
                f"give a number from 1 to {EVENT_FLAGS_PER_SINT}"
            )
        if sint is not None and vp_index not in partition.by_index:
            raise InputError(
                f"there is no virtual processor {vp_index}: give an index below "
                f"{len(partition.processors)}"
            )
        self.connection_id = connection_id
        self.kind = kind
        self.minimum_vtl = minimum_vtl
        self.target = None if sint is None else SintTarget(vp_index, sint, vtl)
        self._ports = partition.ports
        self._events: dict[int, SignaledEvent] = {}
        self._event_receiver: EventReceiver | None = None
        self._way_back: tuple[MessagePort, EventPort] | None = None
        self._incoming: HostMessagePort | HostEventPort
        if kind == "messages":
            self._incoming = self._ports.create_host_message_port(buffers=buffers)
        else:
            self._incoming = self._ports.create_host_event_port(
                self._signaled, flag_count=flag_count
            )
        try:
            self._ports.connect(connection_id, self._incoming, minimum_vtl=minimum_vtl)
        except InputError:
            self._ports.delete(self._incoming)
            raise
        if self.target is not None:
            self._way_back = (
                self._ports.create_message_port(self.target),
                self._ports.create_event_port(self.target, flag_count=flag_count),
            )

    # --- from the guest ------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many messages or events wait to be taken; a condition for ``Machine.run(until=)``."""
        if isinstance(self._incoming, HostMessagePort):
            return len(self._incoming.waiting)
        return len(self._events)

    def take_message(self) -> PostedMessage | None:
        """Take the oldest message, which frees its buffer, or None if none waits."""
        waiting = self._message_port().waiting
        return waiting.popleft() if waiting else None

    def take_event(self) -> SignaledEvent | None:
        """Take the flag that was set first, or None if none is; it can be set again then.

        Like a flag in an event page it is set once, however often it was signaled.
        """
        self._check_kind("events")
        flag = next(iter(self._events), None)
        return None if flag is None else self._events.pop(flag)

    def messages(self) -> Iterator[PostedMessage]:
        """Take all messages that wait, the oldest first."""
        while (message := self.take_message()) is not None:
            yield message

    def on_message(self, receiver: MessageReceiver) -> MessageReceiver:
        """Decorate a function that gets each message at once; what waits already comes first.

        It is called within the guest's call, which returns when it does. Where it returns False,
        the guest gets INSUFFICIENT_BUFFERS and has to try again.
        """
        port = self._message_port()
        port.receiver = receiver
        while port.waiting and receiver(port.waiting[0]) is not False:
            port.waiting.popleft()
        return receiver

    def on_event(self, receiver: EventReceiver) -> EventReceiver:
        """Decorate a function that gets each event at once; what waits already comes first."""
        self._check_kind("events")
        self._event_receiver = receiver
        while (event := self.take_event()) is not None:
            receiver(event)
        return receiver

    def _signaled(self, event: SignaledEvent) -> None:
        if self._event_receiver is not None:
            self._event_receiver(event)
        else:
            self._events.setdefault(event.flag, event)

    def _message_port(self) -> HostMessagePort:
        self._check_kind("messages")
        assert isinstance(self._incoming, HostMessagePort), "a port of messages has such a port"
        return self._incoming

    def _check_kind(self, kind: str) -> None:
        if self.kind != kind:
            raise InputError(
                f"the port of connection {self.connection_id:#x} takes {self.kind}, not {kind}"
            )

    # --- into the guest ------------------------------------------------------------------------

    def post(self, message_type: int, payload: bytes = b"") -> HvStatus:
        """Post a message to the guest; it lies in the message slot when the guest runs on.

        Args:
            message_type: 1 to 0x7FFFFFFF.
            payload: at most 240 bytes.

        Returns:
            SUCCESS when it is queued; INSUFFICIENT_BUFFERS while 16 messages wait for the slot,
            until the guest has emptied it and written EOM; INVALID_SYNIC_STATE while its SynIC or
            message page is disabled; INVALID_VP_INDEX while the VTL is not enabled.

        Raises:
            InputError: the message is impossible, or the port has no way back.
        """
        if not 0 < message_type < HYPERVISOR_MESSAGE:
            raise InputError(
                f"{message_type:#x} is no type of a posted message: give 1 to 0x7fffffff"
            )
        return self._back()[0].post(message_type, payload)

    def signal(self, flag: int = 0) -> HvStatus:
        """Set an event flag of the guest.

        Returns:
            SUCCESS; INVALID_PARAMETER for a flag that the port does not have; INVALID_SYNIC_STATE
            while the SynIC or its event page is disabled or the SINT masked; INVALID_VP_INDEX
            while the VTL is not enabled.

        Raises:
            InputError: the port has no way back.
        """
        return self._back()[1].signal(flag)

    @property
    def free_buffers(self) -> int:
        """How many messages more can wait for the guest."""
        return self._back()[0].free_buffers

    def _back(self) -> tuple[MessagePort, EventPort]:
        if self._way_back is None:
            raise InputError(
                f"the port of connection {self.connection_id:#x} has no way back: "
                "give machine.port a sint"
            )
        return self._way_back

    def close(self) -> None:
        """Remove the connection and the port; messages queued for the guest still arrive."""
        if not self._incoming.deleted:
            self._ports.disconnect(self.connection_id)
            for port in (self._incoming, *(self._way_back or ())):
                self._ports.delete(port)


def _check_vtl(partition: Partition, vtl: int, name: str) -> None:
    count = partition.configuration.vtl_count
    if not 0 <= vtl < count:
        raise InputError(f"there can be no VTL {vtl}: give a {name} from 0 to {count - 1}")
