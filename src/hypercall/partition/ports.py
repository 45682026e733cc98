"""Ports that receive messages and events, inside the partition and outside of it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hypercall.errors import InputError
from hypercall.partition.synic import (
    EVENT_FLAGS_PER_SINT,
    MAX_PAYLOAD,
    SINT_COUNT,
    QueuedMessage,
)
from hypercall.tlfs.identifiers import ANY_VP
from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.partition import Partition
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

MESSAGE_BUFFERS = 16
"""How many message buffers a port has (TLFS, Guest Message Buffers)."""


@dataclass(frozen=True, slots=True)
class PostedMessage:
    """A message as its receiver outside the partition gets it.

    Attributes:
        connection_id: the connection it came through.
        message_type: 1 to 0x7FFFFFFF.
        payload: at most 240 bytes.
        vp_index: the VP that posted it.
        vtl: the VTL that it ran in.
    """

    connection_id: int
    message_type: int
    payload: bytes
    vp_index: int
    vtl: int


@dataclass(frozen=True, slots=True)
class SignaledEvent:
    """An event as its receiver outside the partition gets it.

    Attributes:
        connection_id: the connection it came through.
        flag: the event flag, relative to the port's first one.
        vp_index: the VP that signaled it.
        vtl: the VTL that it ran in.
    """

    connection_id: int
    flag: int
    vp_index: int
    vtl: int


@dataclass(frozen=True, slots=True)
class SintTarget:
    """Where the messages or events of a port go in the partition.

    Attributes:
        vp_index: the VP, or HV_ANY_VP for one that the hypervisor chooses.
        sint: the synthetic interrupt source, 0 to 15.
        vtl: the VTL.
    """

    vp_index: int
    sint: int
    vtl: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.sint < SINT_COUNT:
            raise InputError(f"there is no SINT {self.sint}: give a number from 0 to 15")


class MessagePort:
    """A port in the partition: its messages arrive in a message slot of a virtual processor.

    Attributes:
        port_id: the id, which each message carries as its origination.
        target: where the messages go.
        free_buffers: how many of its 16 message buffers are free.
    """

    __slots__ = ("_partition", "deleted", "free_buffers", "port_id", "target")

    def __init__(self, partition: "Partition", port_id: int, target: SintTarget) -> None:
        self._partition = partition
        self.port_id = port_id
        self.target = target
        self.free_buffers = MESSAGE_BUFFERS
        self.deleted = False

    def post(self, message_type: int, payload: bytes) -> HvStatus:
        """Queue a message for the target.

        Args:
            message_type: any type other than 0.
            payload: at most 240 bytes.

        Returns:
            SUCCESS, INVALID_VP_INDEX without the target VP, INVALID_SYNIC_STATE while its SynIC or
            SIM page is disabled, or INSUFFICIENT_BUFFERS while all 16 buffers are in use.

        Raises:
            InputError: the payload is too long.
        """
        if len(payload) > MAX_PAYLOAD:
            raise InputError(
                f"a message of {len(payload)} bytes is too long: a payload has at most 240 bytes"
            )
        state = _target_state(self._partition, self.target, messages=True)
        if isinstance(state, HvStatus):
            return state
        injection = self._partition.injection
        if not self.free_buffers or (injection is not None and injection.port_full(self)):
            return HvStatus.INSUFFICIENT_BUFFERS
        self.free_buffers -= 1
        kept = partial(bytes, bytes(payload))
        message = QueuedMessage(message_type, kept, self.port_id, self._released)
        state.synic.queue_message(self.target.sint, message)
        return HvStatus.SUCCESS

    def _released(self, delivered: bool) -> None:
        self.free_buffers += 1


class EventPort:
    """A port in the partition: its events set flags in a virtual processor's SIEF page.

    Attributes:
        port_id: the id.
        target: where the flags are.
        base_flag: the first flag of the port in the SINT's 2048.
        flag_count: how many flags the port has.
    """

    __slots__ = ("_partition", "base_flag", "deleted", "flag_count", "port_id", "target")

    def __init__(
        self,
        partition: "Partition",
        port_id: int,
        target: SintTarget,
        base_flag: int,
        flag_count: int,
    ) -> None:
        if not 0 <= base_flag < base_flag + flag_count <= EVENT_FLAGS_PER_SINT:
            raise InputError(
                f"flags {base_flag} to {base_flag + flag_count - 1} do not lie within the "
                f"{EVENT_FLAGS_PER_SINT} of a SINT: give a smaller base or count"
            )
        self._partition = partition
        self.port_id = port_id
        self.target = target
        self.base_flag = base_flag
        self.flag_count = flag_count
        self.deleted = False

    def signal(self, flag: int) -> HvStatus:
        """Set a flag and raise the SINT if it was clear.

        Args:
            flag: relative to the port's first one.

        Returns:
            SUCCESS, INVALID_PARAMETER for a flag that the port does not have, INVALID_VP_INDEX
            without the target VP, or INVALID_SYNIC_STATE.
        """
        if not 0 <= flag < self.flag_count:
            return HvStatus.INVALID_PARAMETER
        state = _target_state(self._partition, self.target, messages=False)
        if isinstance(state, HvStatus):
            return state
        return state.synic.signal_event(self.target.sint, self.base_flag + flag)


class HostMessagePort:
    """A port outside the partition: its messages go to a function, or wait to be taken.

    Attributes:
        port_id: the id.
        receiver: called with each message; it returns False to say that it cannot take it now,
            which the guest sees as INSUFFICIENT_BUFFERS. Without one the messages wait in
            `waiting`.
        buffers: how many messages can wait.
        waiting: the messages that nobody took yet, oldest first.
    """

    __slots__ = ("buffers", "deleted", "port_id", "receiver", "waiting")

    def __init__(
        self,
        port_id: int,
        receiver: Callable[[PostedMessage], bool | None] | None = None,
        buffers: int = MESSAGE_BUFFERS,
    ) -> None:
        self.port_id = port_id
        self.receiver = receiver
        self.buffers = buffers
        self.waiting: deque[PostedMessage] = deque()
        self.deleted = False

    def accept(self, message: PostedMessage) -> HvStatus:
        """Take a message: SUCCESS, or INSUFFICIENT_BUFFERS when there is no room for it."""
        if self.receiver is not None:
            taken = self.receiver(message) is not False
            return HvStatus.SUCCESS if taken else HvStatus.INSUFFICIENT_BUFFERS
        if len(self.waiting) >= self.buffers:
            return HvStatus.INSUFFICIENT_BUFFERS
        self.waiting.append(message)
        return HvStatus.SUCCESS


class HostEventPort:
    """A port outside the partition: its events go to a function.

    Attributes:
        port_id: the id.
        receiver: called with each event.
        flag_count: how many flags the port has.
    """

    __slots__ = ("deleted", "flag_count", "port_id", "receiver")

    def __init__(
        self, port_id: int, receiver: Callable[[SignaledEvent], object], flag_count: int
    ) -> None:
        self.port_id = port_id
        self.receiver = receiver
        self.flag_count = flag_count
        self.deleted = False

    def accept(self, event: SignaledEvent) -> HvStatus:
        """Take an event: SUCCESS, or INVALID_PARAMETER for a flag that the port does not have."""
        if event.flag >= self.flag_count:
            return HvStatus.INVALID_PARAMETER
        self.receiver(event)
        return HvStatus.SUCCESS


Port = MessagePort | EventPort | HostMessagePort | HostEventPort


def _target_state(
    partition: "Partition", target: SintTarget, *, messages: bool
) -> "VirtualProcessorVtl | HvStatus":
    """Return the VTL of the VP that a port targets, or why there is none."""
    if target.vp_index != ANY_VP:
        vp = partition.by_index.get(target.vp_index)
        candidates = [] if vp is None else [vp]
    else:
        candidates = partition.virtual_processors
    states = [vp.vtls[target.vtl] for vp in candidates if target.vtl in vp.vtls]
    if not states:
        return HvStatus.INVALID_VP_INDEX
    for state in states:
        if state.synic.accepts_messages if messages else state.synic.accepts_events:
            return state
    return HvStatus.INVALID_SYNIC_STATE
