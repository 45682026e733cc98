"""What comes to a guest from outside, and when, so that it can come again."""

import base64
import binascii
import json
from dataclasses import astuple, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from hypercall.errors import InputError
from hypercall.partition.debug_channel import ConnectionAddresses

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine


class InputKind(Enum):
    """What sort of thing came."""

    CONSOLE = "console"
    """Bytes for the serial console."""
    DEBUG_SENT = "debug-sent"
    """Bytes from the debugger."""
    DEBUG_TAKEN = "debug-taken"
    """The debugger took bytes; the data is how many, in decimal."""
    DEBUG_CONNECTED = "debug-connected"
    """A debugger connected or left; the data has the addresses."""
    WAIT = "wait"
    """Host time passed while the guest waited; the data is the nanoseconds, in decimal."""


@dataclass(frozen=True, slots=True)
class Input:
    """One thing that came.

    Attributes:
        count: the engine's count at which the guest got it.
        time_ns: the virtual time at which it did.
        kind: what sort of thing.
        data: what.
    """

    count: int
    time_ns: int
    kind: InputKind
    data: bytes

    def to_json(self) -> list[Any]:
        """Return it as JSON has it."""
        return [self.count, self.time_ns, self.kind.value, base64.b64encode(self.data).decode()]

    @classmethod
    def from_json(cls, described: Any) -> "Input":
        """Return what `to_json` described.

        Raises:
            InputError: it is damaged.
        """
        try:
            count, time_ns, kind, data = described
            if type(count) is not int or type(time_ns) is not int:
                raise TypeError
            return cls(count, time_ns, InputKind(kind), base64.b64decode(data, validate=True))
        except (TypeError, ValueError, binascii.Error):
            raise InputError("an input of it is damaged") from None


class InputRecorder:
    """Notes what comes to a machine from now on.

    Args:
        machine: the machine; it counts virtual time.

    Attributes:
        inputs: what came, in its order.
    """

    def __init__(self, machine: "Machine") -> None:
        self.inputs: list[Input] = []
        self._machine = machine
        self._addresses = machine.debug_channel.addresses
        machine.console.on_input = self._console
        machine.debug_channel.on_exchange = self._exchanged
        machine.on_host_wait = self._waited

    def _console(self, data: bytes) -> None:
        self._note(InputKind.CONSOLE, data)

    def _exchanged(self, sent: bytes, taken: int) -> None:
        addresses = self._machine.debug_channel.addresses
        if addresses != self._addresses:
            self._addresses = addresses
            self._note(InputKind.DEBUG_CONNECTED, json.dumps(astuple(addresses)).encode())
        if sent:
            self._note(InputKind.DEBUG_SENT, sent)
        if taken:
            self._note(InputKind.DEBUG_TAKEN, str(taken).encode())

    def _waited(self, nanoseconds: int) -> None:
        self._note(InputKind.WAIT, str(nanoseconds).encode())

    def _note(self, kind: InputKind, data: bytes) -> None:
        engine = self._machine.engine
        self.inputs.append(Input(engine.count, engine.time(), kind, data))


class InputPlayer:
    """Gives a machine what came to it, or to one like it, at the same moments.

    Args:
        machine: the machine, loaded and not yet run.
        inputs: what came, in its order.
    """

    def __init__(self, machine: "Machine", inputs: list[Input]) -> None:
        self._machine = machine
        self._inputs = inputs
        # In a list, so that a snapshot of the machine can hold it.
        self._next = [0]
        machine.input_source = self.give
        machine.state_holders.append(self._next)

    @property
    def left(self) -> int:
        """How many inputs are still to come."""
        return len(self._inputs) - self._next[0]

    def give(self) -> bool:
        """Give what is due.

        Returns:
            Whether time has passed by it.
        """
        inputs, position = self._inputs, self._next[0]
        if position >= len(inputs):
            return False
        engine = self._machine.engine
        passed = False
        while position < len(inputs):
            given = inputs[position]
            if given.count > engine.count or given.time_ns > engine.time():
                break
            position += 1
            self._next[0] = position
            passed |= self._give(given)
        return passed

    def _give(self, given: Input) -> bool:
        channel = self._machine.debug_channel
        match given.kind:
            case InputKind.CONSOLE:
                self._machine.console.feed(given.data)
            case InputKind.DEBUG_SENT:
                channel.send(given.data)
            case InputKind.DEBUG_TAKEN:
                channel.receive(_number(given.data))
            case InputKind.DEBUG_CONNECTED:
                channel.connect(_addresses(given.data))
            case InputKind.WAIT:
                self._machine.engine.skew += _number(given.data)
                return True
        return False


def _number(data: bytes) -> int:
    if not data.isdigit() or len(data) > 20:
        raise InputError("the recording is damaged: a number of it cannot be read")
    return int(data)


def _addresses(data: bytes) -> ConnectionAddresses:
    try:
        numbers = json.loads(data)
        if any(type(number) is not int for number in numbers):
            raise TypeError
        return ConnectionAddresses(*numbers)
    except (TypeError, ValueError):
        raise InputError("the recording is damaged: an address of it cannot be read") from None
