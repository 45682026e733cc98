"""The device at port 0x3000 with which kvm-unit-tests drives SINTs, messages and events.

Protocol (QEMU's hyperv-testdev and kvm-unit-tests x86/hyperv.c): one write of 32 bits: bits 7:0
SINT, 15:8 VP index, 23:16 command, 31:24 connection id. A message connection sends what is posted
to it to the SINT; an event connection sets the event flag whose number is its connection id.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum

from hypercall.partition.partition import Partition
from hypercall.partition.ports import EventPort, MessagePort, SintTarget
from hypercall.partition.synic import SINT_COUNT

_BASE = 0x3000


class SynicTestCommand(IntEnum):
    """The commands of the device."""

    CREATE_SINT_ROUTE = 1
    DESTROY_SINT_ROUTE = 2
    SET_SINT = 3
    CREATE_MESSAGE_CONNECTION = 4
    DESTROY_MESSAGE_CONNECTION = 5
    CREATE_EVENT_CONNECTION = 6
    DESTROY_EVENT_CONNECTION = 7


class SynicTestDevice:
    """Commands that make no sense, such as a route that does not exist, are ignored.

    Args:
        partition: the partition whose SINTs and connections it drives.
        observer: called with a text for each ignored command.
    """

    widest_access = 4

    def __init__(
        self,
        partition: Partition,
        observer: Callable[[str], None] | None = None,
    ) -> None:
        self._partition = partition
        self._observer = observer
        self._routes: dict[tuple[int, int], int] = {}
        self._connections: dict[int, MessagePort | EventPort] = {}

    @property
    def ports(self) -> Sequence[range]:
        """One register of 32 bits."""
        return (range(_BASE, _BASE + 4),)

    def read_port(self, port: int, size: int) -> int:
        """Read zero."""
        return 0

    def write_port(self, port: int, size: int, value: int) -> None:
        """Carry out a command; accesses that are not of 4 bytes at the base do nothing."""
        if port != _BASE or size != 4:
            return
        sint, vp_index = value & 0xFF, value >> 8 & 0xFF
        command, connection_id = value >> 16 & 0xFF, value >> 24
        if not self._carry_out(command, vp_index, sint, connection_id) and self._observer:
            self._observer(f"command {value:#010x} of the SynIC test device ignored")

    def _carry_out(self, command: int, vp_index: int, sint: int, connection_id: int) -> bool:
        route = (vp_index, sint)
        if command == SynicTestCommand.DESTROY_MESSAGE_CONNECTION:
            return self._destroy(connection_id, MessagePort)
        if command == SynicTestCommand.DESTROY_EVENT_CONNECTION:
            return self._destroy(connection_id, EventPort)
        vp = self._partition.by_index.get(vp_index)
        if vp is None or sint >= SINT_COUNT:
            return False
        if command == SynicTestCommand.CREATE_SINT_ROUTE:
            self._routes[route] = self._routes.get(route, 0) + 1
        elif command == SynicTestCommand.DESTROY_SINT_ROUTE:
            if route not in self._routes:
                return False
            self._routes[route] -= 1
            if not self._routes[route]:
                del self._routes[route]
        elif command == SynicTestCommand.SET_SINT:
            if route not in self._routes:
                return False
            vp.vtls[0].synic.raise_sint(sint)
        elif command in (
            SynicTestCommand.CREATE_MESSAGE_CONNECTION,
            SynicTestCommand.CREATE_EVENT_CONNECTION,
        ):
            return self._create(
                SynicTestCommand(command), SintTarget(vp_index, sint), connection_id
            )
        else:
            return False
        return True

    def _create(self, command: SynicTestCommand, target: SintTarget, connection_id: int) -> bool:
        ports = self._partition.ports
        if connection_id in ports.connections:
            return False
        port: MessagePort | EventPort
        if command == SynicTestCommand.CREATE_MESSAGE_CONNECTION:
            port = ports.create_message_port(target)
        else:
            port = ports.create_event_port(target, base_flag=connection_id, flag_count=1)
        ports.connect(connection_id, port)
        self._connections[connection_id] = port
        return True

    def _destroy(self, connection_id: int, kind: type[MessagePort] | type[EventPort]) -> bool:
        port = self._connections.get(connection_id)
        if not isinstance(port, kind):
            return False
        del self._connections[connection_id]
        self._partition.ports.disconnect(connection_id)
        self._partition.ports.delete(port)
        return True
