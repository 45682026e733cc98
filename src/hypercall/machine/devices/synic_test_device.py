"""The device at port 0x3000 with which kvm-unit-tests drives SINTs, messages and events.

Protocol (QEMU's hyperv-testdev and kvm-unit-tests x86/hyperv.c): one write of 32 bits: bits 7:0
SINT, 15:8 VP index, 23:16 command, 31:24 connection id. A message connection sends what is posted
to it to the SINT; an event connection sets the event flag whose number is its connection id.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Protocol

_BASE = 0x3000
_SINT_COUNT = 16


class SynicTestCommand(IntEnum):
    """The commands of the device."""

    CREATE_SINT_ROUTE = 1
    DESTROY_SINT_ROUTE = 2
    SET_SINT = 3
    CREATE_MESSAGE_CONNECTION = 4
    DESTROY_MESSAGE_CONNECTION = 5
    CREATE_EVENT_CONNECTION = 6
    DESTROY_EVENT_CONNECTION = 7


class SynicTestTarget(Protocol):
    """What the device needs of the partition."""

    def request_sint(self, vp_index: int, sint: int) -> None:
        """Request the interrupt of a SINT."""
        ...

    def create_message_connection(self, connection_id: int, vp_index: int, sint: int) -> None:
        """Let messages that are posted to a connection arrive at a SINT."""
        ...

    def create_event_connection(
        self, connection_id: int, vp_index: int, sint: int, flag: int
    ) -> None:
        """Let signals to a connection set an event flag of a SINT."""
        ...

    def destroy_connection(self, connection_id: int) -> None:
        """Take a connection away."""
        ...


class SynicTestDevice:
    """Commands that make no sense, such as a route that does not exist, are ignored.

    Args:
        target: the partition's side.
        vp_count: VP indexes from here on are ignored.
        observer: called with a text for each ignored command.
    """

    widest_access = 4

    def __init__(
        self,
        target: SynicTestTarget,
        vp_count: int,
        observer: Callable[[str], None] | None = None,
    ) -> None:
        self._target = target
        self._vp_count = vp_count
        self._observer = observer
        self._routes: dict[tuple[int, int], int] = {}
        self._messages: set[int] = set()
        self._events: set[int] = set()

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
            return self._destroy(self._messages, connection_id)
        if command == SynicTestCommand.DESTROY_EVENT_CONNECTION:
            return self._destroy(self._events, connection_id)
        if vp_index >= self._vp_count or sint >= _SINT_COUNT:
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
            self._target.request_sint(vp_index, sint)
        elif connection_id in self._messages or connection_id in self._events:
            return False
        elif command == SynicTestCommand.CREATE_MESSAGE_CONNECTION:
            self._target.create_message_connection(connection_id, vp_index, sint)
            self._messages.add(connection_id)
        elif command == SynicTestCommand.CREATE_EVENT_CONNECTION:
            self._target.create_event_connection(connection_id, vp_index, sint, connection_id)
            self._events.add(connection_id)
        else:
            return False
        return True

    def _destroy(self, connections: set[int], connection_id: int) -> bool:
        if connection_id not in connections:
            return False
        connections.remove(connection_id)
        self._target.destroy_connection(connection_id)
        return True
