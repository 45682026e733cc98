"""Messages that the guest and the host post: none is lost, none comes twice."""

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from tests.guests.random_calls.code import MESSAGE_SINT
from tests.guests.random_calls.inputs import (
    EVENT_PORT,
    GUARDED_PORT,
    GUEST_PORTS,
    HOST_EVENTS,
    HOST_PORT,
    Record,
)
from tests.guests.random_calls.invariants import require
from tests.guests.random_calls.places import BLOCK_LOG, VPS, block, log
from tests.guests.vtl import message_page

from hypercall.machine.machine import Machine
from hypercall.partition.ports import MESSAGE_BUFFERS, PostedMessage, SintTarget

_TAKEN = struct.Struct("<QQ")
_HYPERVISOR = 1 << 31


class Messages:
    """The ports of a machine, and what should come and has come through them.

    Args:
        machine: the machine.
        numbers: gives each message its number.

    Attributes:
        delivered: how many messages have arrived.
    """

    def __init__(self, machine: Machine, numbers: Iterator[int]) -> None:
        self._partition = machine.partition
        self._numbers = numbers
        self.delivered = 0
        self._at_host: list[tuple[int, int]] = []
        self._posted: list[tuple[int, int]] = []
        ports = self._partition.ports
        ports.connect(HOST_PORT, ports.create_host_message_port(self._take))
        ports.connect(HOST_EVENTS, ports.create_host_event_port(lambda event: None))
        ports.connect(GUARDED_PORT, ports.create_host_message_port(self._take), minimum_vtl=1)
        ports.connect(EVENT_PORT, ports.create_event_port(SintTarget(0, 4, 0), flag_count=64))
        self._ports = {
            vp: ports.create_message_port(SintTarget(vp, MESSAGE_SINT, 0)) for vp in range(VPS)
        }
        for connection, vp in GUEST_PORTS.items():
            ports.connect(connection, self._ports[vp])

    def _take(self, message: PostedMessage) -> None:
        require(
            message.connection_id != GUARDED_PORT or message.vtl,
            "VTL 0 has posted a message to a port of higher VTLs",
        )
        number = struct.unpack_from("<Q", message.payload)[0] if len(message.payload) >= 8 else -1
        self._at_host.append((message.connection_id, number))

    def post(self) -> None:
        """Post a message of the host to each processor."""
        for vp, port in self._ports.items():
            number = next(self._numbers)
            if not port.post(1, struct.pack("<Q", number)):
                self._posted.append((vp, number))

    def drained(self) -> bool:
        """Whether the guest has taken what it can."""
        memory = self._partition.memory
        return all(
            port.free_buffers == MESSAGE_BUFFERS
            and not memory.read_u32(message_page(0, vp) + 256 * MESSAGE_SINT)
            for vp, port in self._ports.items()
        )

    def check(
        self, results: Iterable[tuple[Record, bool, int]] | None, restarted: Iterable[int]
    ) -> None:
        """Compare what was posted with what has come, and begin anew.

        Args:
            results: each record, whether its call has come back, and its result; None if they
                tell nothing.
            restarted: the processors that may have taken one message twice.
        """
        if results is None:
            self.delivered += len(self._at_host)
            self._at_host.clear()
            self._posted.clear()
            return
        sure: Counter[tuple[int, int]] = Counter(self._posted)
        perhaps: set[tuple[int, int]] = set()
        for record, done, result in results:
            if record.message is None:
                continue
            connection, number = record.message
            place = (GUEST_PORTS.get(connection, -connection), number)
            if not done:
                perhaps.add(place)
            elif not result & 0xFFFF:
                sure[place] += 1
        come = Counter((-connection, number) for connection, number in self._at_host)
        come.update(self._taken(set(restarted)))
        for place, count in come.items():
            require(count == 1, f"message {_text(place)} came {count} times")
            require(
                place in sure or place in perhaps,
                f"message {_text(place)} came, though its call did not succeed",
            )
        for place in sure:
            require(place in come, f"message {_text(place)} was lost")
        self.delivered += len(come)
        self._at_host.clear()
        self._posted.clear()

    def _taken(self, restarted: set[int]) -> Mapping[tuple[int, int], int]:
        taken: Counter[tuple[int, int]] = Counter()
        memory = self._partition.memory
        for vp in range(VPS):
            start = log(vp, 0)
            data = memory.read(start, memory.read_u64(block(vp, 0) + BLOCK_LOG) - start)
            for kind, number in _TAKEN.iter_unpack(data):
                if not kind & _HYPERVISOR:
                    taken[vp, number] = 1 if vp in restarted else taken[vp, number] + 1
        return taken


def _text(place: tuple[int, int]) -> str:
    where, number = place
    return f"{number} for {f'VP {where}' if where >= 0 else f'the host at {-where:#x}'}"
