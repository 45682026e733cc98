"""What a fault is: which calls, deliveries, CPUID bits or buffers it concerns, and what it does.

Each fault has a text, the one that users write (``hypercall.faults.grammar`` reads it); ``str()``
gives it in its shortest form, and what is read from that is the same fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hypercall.durations import duration_text
from hypercall.errors import InputError
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.declaration import CallClass
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.messages import MessageType
from hypercall.tlfs.status import HvStatus
from hypercall.trace.symbols import Place

_MESSAGE_NAMES = {int(each): each.name for each in MessageType}


@dataclass(frozen=True, slots=True)
class Occurrences:
    """Which of the occurrences that fit a fault it strikes; without anything, every one.

    Attributes:
        nth: only this one, counted from 1.
        every: each one whose number is a multiple of this.
        share: each one with this probability, 0 to 1, by the fault's own random numbers.
        times: at most so many.
        after_ns: none before this virtual time, and none of those is counted.
    """

    nth: int | None = None
    every: int | None = None
    share: float | None = None
    times: int | None = None
    after_ns: int = 0

    def __post_init__(self) -> None:
        chosen = (self.nth, self.every, self.share)
        if sum(each is not None for each in chosen) > 1:
            raise InputError("nth, every and p exclude one another: give one of them")
        if self.nth is not None and self.times is not None:
            raise InputError("nth is one occurrence: leave out times")
        for name, number in (("nth", self.nth), ("every", self.every), ("times", self.times)):
            if number is not None and number < 1:
                raise InputError(f"{name}={number} is none: count from 1")
        if self.share is not None and not 0 <= self.share <= 1:
            raise InputError(f"p={self.share:g} is no share: give a number from 0 to 1")

    def parts(self) -> list[str]:
        """The text's parts."""
        return _parts(nth=self.nth, every=self.every, p=self.share, times=self.times) + (
            [f"after={duration_text(self.after_ns)}"] if self.after_ns else []
        )


EVERY = Occurrences()
"""Every occurrence."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where in the guest a call is made, as traces name it: the instruction after the call.

    Attributes:
        symbol: the name of the function, or None for an address.
        offset: the offset from its start, or None for anywhere in it.
        address: the guest-virtual address, if it is not by symbol.
        module: the kernel module that it is in, or None for any place with that name.
    """

    symbol: str | None = None
    offset: int | None = None
    address: int | None = None
    module: str | None = None

    def __str__(self) -> str:
        if self.address is not None:
            return f"{self.address:#x}"
        text = f"{self.symbol}" if self.offset is None else f"{self.symbol}+{self.offset:#x}"
        return text if self.module is None else f"{text} [{self.module}]"

    def covers(self, address: int, name: str | None) -> bool:
        """Whether a place is meant.

        Args:
            address: its guest-virtual address.
            name: ``symbol+0x1a``, ``symbol`` or ``symbol+0x1a [module]`` for it, or None where it
                has no name.
        """
        if self.address is not None:
            return address == self.address
        if name is None:
            return False
        place = Place.parse(name)
        return (
            place.symbol == self.symbol
            and self.offset in (None, place.offset)
            and self.module in (None, place.module)
        )


@dataclass(frozen=True, slots=True)
class CallFault:
    """A call that is answered otherwise, in part, or late.

    It takes the place of the call's handler: a call that the calling convention itself refuses is
    refused as ever, and is no occurrence. Nor is the continuation of a rep call, or a call that
    waited and is issued again.

    Attributes:
        code: the call code, or None for any call but a VTL call or return.
        status: the status that is returned; the call is not carried out beyond `reps`.
        reps: complete only so many elements; the result says so, with `status` or SUCCESS.
        time_ns: so much virtual time passes before anything else.
        site: from where, or None for anywhere.
        vp: the VP index of the caller, or None for any.
        vtl: its VTL, or None for any.
        occurrences: which of the calls that fit.
    """

    code: int | None = None
    status: HvStatus | None = None
    reps: int | None = None
    time_ns: int = 0
    site: Site | None = None
    vp: int | None = None
    vtl: int | None = None
    occurrences: Occurrences = EVERY

    def __post_init__(self) -> None:
        if self.status is None and self.reps is None and not self.time_ns:
            raise InputError("a call fault must do something: add status=, reps= or time=")
        if self.code is None:
            return
        declaration = DECLARATIONS.find(self.code)
        if declaration.call_class is CallClass.VTL_SWITCH:
            raise InputError(f"{declaration.name} has no status and no reps, and cannot be faulted")
        if self.reps is not None and not declaration.is_rep:
            raise InputError(f"{declaration.name} is no rep call: leave out reps")

    def __str__(self) -> str:
        name = None if self.code is None else short_name(self.code)
        parts = ["call" if name is None else f"call={name}"]
        parts += _parts(site=self.site, vp=self.vp, vtl=self.vtl) + self.occurrences.parts()
        if self.time_ns:
            parts.append(f"time={duration_text(self.time_ns)}")
        status = None if self.status is None else self.status.name
        return ",".join(parts + _parts(reps=self.reps, status=status))


@dataclass(frozen=True, slots=True)
class InterruptFault:
    """An interrupt that a local APIC does not get, or gets late.

    A request that merges with one that is pending is no occurrence.

    Attributes:
        vector: the vector, or None for any.
        delay_ns: how much later it comes in virtual time, or None if it never does.
        vp: the VP index of the target, or None for any.
        vtl: the VTL of the target, or None for any.
        occurrences: which of the interrupts that fit.
    """

    vector: int | None = None
    delay_ns: int | None = None
    vp: int | None = None
    vtl: int | None = None
    occurrences: Occurrences = EVERY

    def __str__(self) -> str:
        kind = "interrupt" if self.vector is None else f"interrupt={self.vector:#x}"
        return _delivery_text(kind, [], self)


@dataclass(frozen=True, slots=True)
class MessageFault:
    """A message that is lost on its way to a SynIC's queue, or comes there late.

    Attributes:
        message_type: the message type, or None for any.
        sint: the synthetic interrupt source, or None for any.
        delay_ns: how much later it comes in virtual time, or None if it never does.
        vp: the VP index of the target, or None for any.
        vtl: the VTL of the target, or None for any.
        occurrences: which of the messages that fit.
    """

    message_type: int | None = None
    sint: int | None = None
    delay_ns: int | None = None
    vp: int | None = None
    vtl: int | None = None
    occurrences: Occurrences = EVERY

    def __str__(self) -> str:
        kind = "message"
        if self.message_type is not None:
            kind += f"={_MESSAGE_NAMES.get(self.message_type) or f'{self.message_type:#x}'}"
        return _delivery_text(kind, _parts(sint=self.sint), self)


@dataclass(frozen=True, slots=True)
class TimerFault:
    """A synthetic timer that expires without telling its processor, or tells it late.

    Attributes:
        timer: 0 to 3, or None for any.
        delay_ns: how much later it tells in virtual time, or None if it never does.
        vp: the VP index, or None for any.
        vtl: the VTL, or None for any.
        occurrences: which of the expirations that fit.
    """

    timer: int | None = None
    delay_ns: int | None = None
    vp: int | None = None
    vtl: int | None = None
    occurrences: Occurrences = EVERY

    def __str__(self) -> str:
        return _delivery_text("timer" if self.timer is None else f"timer={self.timer}", [], self)


@dataclass(frozen=True, slots=True)
class CpuidFault:
    """A bit by which CPUID lies.

    Attributes:
        word: ``"privileges"``, ``"features"``, ``"recommendations"`` or ``"nested_features"``, the
            attribute of the partition's configuration.
        bit: the bit.
        shown: True for one that CPUID shows and the partition refuses, False for one that it hides
            and the partition grants.
    """

    word: str
    bit: FlagWord
    shown: bool

    def __str__(self) -> str:
        return f"cpuid={'+' if self.shown else '-'}{self.bit.name}"


class BufferKind(Enum):
    """The buffers that can be made smaller."""

    MESSAGES = "messages"
    """The message buffers of each port in the partition, 16 without a fault."""
    HOST_MESSAGES = "host-messages"
    """The messages that wait in each port outside of it, 16 without a fault."""
    DEBUG = "debug"
    """The bytes of the debug channel in each direction, 65,536 without a fault."""


@dataclass(frozen=True, slots=True)
class BufferFault:
    """Buffers that hold less, so that the guest meets INSUFFICIENT_BUFFERS.

    Attributes:
        buffer: which.
        size: how much they hold, in messages or bytes; 0 for nothing.
    """

    buffer: BufferKind
    size: int

    def __str__(self) -> str:
        return f"buffer={self.buffer.value},size={self.size}"


DeliveryFault = InterruptFault | MessageFault | TimerFault
"""A fault that drops or delays what a processor should get."""

Fault = CallFault | InterruptFault | MessageFault | TimerFault | CpuidFault | BufferFault
"""Any fault."""


def short_name(code: int) -> str:
    """The name of a call without what all names begin with: ``PostMessage``."""
    name = DECLARATIONS.find(code).name
    return name.removeprefix("HvExtCall").removeprefix("HvCall")


def _parts(**values: object) -> list[str]:
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def _delivery_text(kind: str, more: list[str], fault: DeliveryFault) -> str:
    parts = [kind, *more, *_parts(vp=fault.vp, vtl=fault.vtl), *fault.occurrences.parts()]
    delay = fault.delay_ns
    parts.append("drop" if delay is None else f"delay={duration_text(delay)}")
    return ",".join(parts)
