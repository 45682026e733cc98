"""The ports and connections of a partition: how a guest reaches a port by connection id."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypercall.errors import InputError
from hypercall.partition.ports import (
    MESSAGE_BUFFERS,
    EventPort,
    HostEventPort,
    HostMessagePort,
    MessagePort,
    Port,
    PostedMessage,
    SignaledEvent,
    SintTarget,
)
from hypercall.partition.synic import EVENT_FLAGS_PER_SINT
from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

MAX_ID = 0xFFFFFF
"""Port and connection ids have 24 bits (TLFS, HV_PORT_ID, HV_CONNECTION_ID)."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A one-way channel to a port.

    Attributes:
        connection_id: the id by which the guest names it.
        port: the port.
        minimum_vtl: the lowest VTL that may use it.
    """

    connection_id: int
    port: Port
    minimum_vtl: int = 0


class PortTable:
    """The ports and connections of a partition (TLFS, Ports and Connections).

    Attributes:
        ports: the ports by id.
        connections: the connections by id.
    """

    def __init__(self, partition: "Partition") -> None:
        self._partition = partition
        self._next_port_id = 1
        self.ports: dict[int, Port] = {}
        self.connections: dict[int, Connection] = {}

    def create_message_port(self, target: SintTarget, port_id: int | None = None) -> MessagePort:
        """Create a port whose messages arrive in the partition.

        Args:
            target: where they arrive.
            port_id: the id, or None for a free one.

        Raises:
            InputError: the id is taken or too large.
        """
        port = MessagePort(self._partition, self._id(port_id), target)
        self.ports[port.port_id] = port
        return port

    def create_event_port(
        self,
        target: SintTarget,
        *,
        base_flag: int = 0,
        flag_count: int = EVENT_FLAGS_PER_SINT,
        port_id: int | None = None,
    ) -> EventPort:
        """Create a port whose events set flags in the partition.

        Raises:
            InputError: the id is taken or too large, or a SINT does not have the flags.
        """
        port = EventPort(self._partition, self._id(port_id), target, base_flag, flag_count)
        self.ports[port.port_id] = port
        return port

    def create_host_message_port(
        self,
        receiver: Callable[[PostedMessage], bool | None] | None = None,
        port_id: int | None = None,
        *,
        buffers: int = MESSAGE_BUFFERS,
    ) -> HostMessagePort:
        """Create a port whose messages go to a function outside the partition, or wait there.

        Raises:
            InputError: the id is taken or too large.
        """
        port = HostMessagePort(self._id(port_id), receiver, buffers)
        self.ports[port.port_id] = port
        return port

    def create_host_event_port(
        self,
        receiver: Callable[[SignaledEvent], object],
        *,
        flag_count: int = EVENT_FLAGS_PER_SINT,
        port_id: int | None = None,
    ) -> HostEventPort:
        """Create a port whose events go to a function outside the partition.

        Raises:
            InputError: the id is taken or too large.
        """
        port = HostEventPort(self._id(port_id), receiver, flag_count)
        self.ports[port.port_id] = port
        return port

    def connect(self, connection_id: int, port: Port, *, minimum_vtl: int = 0) -> Connection:
        """Make a port reachable by the guest.

        Raises:
            InputError: the id is taken or has more than 24 bits.
        """
        if not 0 <= connection_id <= MAX_ID or connection_id in self.connections:
            raise InputError(
                f"connection id {connection_id:#x} is taken or has more than 24 bits: give another"
            )
        connection = Connection(connection_id, port, minimum_vtl)
        self.connections[connection_id] = connection
        return connection

    def disconnect(self, connection_id: int) -> None:
        """Remove a connection; messages already queued still arrive.

        Raises:
            InputError: there is no such connection.
        """
        if self.connections.pop(connection_id, None) is None:
            raise InputError(f"there is no connection {connection_id:#x} to remove")

    def delete(self, port: Port) -> None:
        """Delete a port; its connections stay and answer INVALID_PORT_ID.

        Raises:
            InputError: it is not a port of this table.
        """
        if self.ports.get(port.port_id) is not port:
            raise InputError(f"port {port.port_id:#x} is not a port of this partition")
        del self.ports[port.port_id]
        port.deleted = True

    def post_message(
        self, caller: "VirtualProcessorVtl", connection_id: int, message_type: int, payload: bytes
    ) -> HvStatus:
        """Post a message as HvCallPostMessage does.

        Args:
            caller: the VTL of the VP that posts it.
            connection_id: the connection.
            message_type: checked by the caller of this method.
            payload: at most 240 bytes.
        """
        connection = self.connections.get(connection_id)
        if connection is None:
            return HvStatus.INVALID_CONNECTION_ID
        if caller.vtl < connection.minimum_vtl:
            return HvStatus.OPERATION_DENIED
        port = connection.port
        if port.deleted:
            return HvStatus.INVALID_PORT_ID
        if isinstance(port, MessagePort):
            return port.post(message_type, payload)
        if isinstance(port, HostMessagePort):
            injection = self._partition.injection
            if injection is not None and injection.port_full(port):
                return HvStatus.INSUFFICIENT_BUFFERS
            return port.accept(
                PostedMessage(connection_id, message_type, payload, caller.vp.index, caller.vtl)
            )
        return HvStatus.INVALID_PORT_ID

    def signal_event(
        self, caller: "VirtualProcessorVtl", connection_id: int, flag: int
    ) -> HvStatus:
        """Signal an event as HvCallSignalEvent does.

        Args:
            caller: the VTL of the VP that signals it.
            connection_id: the connection.
            flag: the flag, relative to the port's first one.
        """
        connection = self.connections.get(connection_id)
        if connection is None:
            return HvStatus.INVALID_CONNECTION_ID
        if caller.vtl < connection.minimum_vtl:
            return HvStatus.OPERATION_DENIED
        port = connection.port
        if port.deleted:
            return HvStatus.INVALID_PORT_ID
        if isinstance(port, EventPort):
            return port.signal(flag)
        if isinstance(port, HostEventPort):
            return port.accept(SignaledEvent(connection_id, flag, caller.vp.index, caller.vtl))
        return HvStatus.INVALID_PORT_ID

    def _id(self, port_id: int | None) -> int:
        if port_id is None:
            while self._next_port_id in self.ports:
                self._next_port_id += 1
            return self._next_port_id
        if not 0 <= port_id <= MAX_ID or port_id in self.ports:
            raise InputError(
                f"port id {port_id:#x} is taken or has more than 24 bits: give another"
            )
        return port_id
