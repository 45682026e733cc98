"""The points of a run where something could go wrong: what a sweep tries one after another."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from hypercall.errors import InputError
from hypercall.faults.calls import CallAttempt
from hypercall.faults.deliveries import Delivery
from hypercall.faults.fault import (
    BufferFault,
    BufferKind,
    CallFault,
    Fault,
    InterruptFault,
    MessageFault,
    Occurrences,
    TimerFault,
)
from hypercall.faults.features import possible_lies
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.status import HvStatus

_Item = TypeVar("_Item")
_DEFAULT_DELAY_NS = 20_000_000
_DEBUG_CALLS = frozenset({Call.POST_DEBUG_DATA, Call.RETRIEVE_DEBUG_DATA})


class PointKind(Enum):
    """What can go wrong."""

    CALLS = "calls"
    """Calls that fail, are done in part, or late."""
    INTERRUPTS = "interrupts"
    """Interrupts that are lost or late."""
    MESSAGES = "messages"
    """Messages that are lost or late."""
    TIMERS = "timers"
    """Expirations of synthetic timers that are lost or late."""
    CPUID = "cpuid"
    """Bits by which CPUID lies."""
    BUFFERS = "buffers"
    """Buffers that hold nothing."""


EVERYTHING = frozenset(PointKind)
"""Every kind."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which points a sweep tries.

    Attributes:
        kinds: the kinds of points.
        calls: the codes of the calls, or None for all that the guest makes.
        statuses: the statuses of each call; None for those of its declaration, and then a call is
            also late once, and a rep call is once not done at all and once by half.
        each: of the calls of one kind from one place, and of the deliveries of one kind to one
            processor, so many: the first, the last, and others evenly between; None for all.
        delay_ns: how late a call or a delivery is, in virtual time.
        most: at most so many points, spread over all; None for all.
    """

    kinds: frozenset[PointKind] = EVERYTHING
    calls: frozenset[int] | None = None
    statuses: tuple[HvStatus, ...] | None = None
    each: int | None = 1
    delay_ns: int = _DEFAULT_DELAY_NS
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One point.

    Attributes:
        fault: what goes wrong there; its text is all that is needed to meet it again.
        place: where the guest makes the call, or None where there is no such place.
    """

    fault: Fault
    place: int | None = None


@dataclass(slots=True)
class _Place:
    """The calls of one code from one place, by their numbers among all of that code.

    Attributes:
        code: the call code.
        address: where the guest makes them.
        numbers: those of all calls, counted from 1.
        listed: those of the calls that have elements, among such.
        half: completes half of the first list that has several elements.
    """

    code: int
    address: int
    numbers: array[int] = field(default_factory=lambda: array("Q"))
    listed: array[int] = field(default_factory=lambda: array("Q"))
    half: CallFault | None = None


@dataclass(slots=True)
class Recorder:
    """Notes what a run does that could go wrong; give its methods to `Faults.observe`.

    Attributes:
        kinds: the kinds of points that are wanted.
        leaves: the CPUID leaves that the guest has read; add them.
    """

    kinds: frozenset[PointKind] = EVERYTHING
    leaves: set[int] = field(default_factory=set)
    _lengths: dict[int, Counter[int]] = field(default_factory=dict)
    _places: dict[tuple[int, int, int], _Place] = field(default_factory=dict)
    _deliveries: Counter[Delivery] = field(default_factory=Counter)

    @property
    def wants_deliveries(self) -> bool:
        """Whether any kind of delivery is wanted."""
        return bool(self.kinds & {PointKind.INTERRUPTS, PointKind.MESSAGES, PointKind.TIMERS})

    def call(self, attempt: CallAttempt) -> None:
        """Note a call."""
        plan = attempt.plan
        code, length = plan.call.code, plan.rep_count
        lengths = self._lengths.setdefault(code, Counter())
        lengths[length] += 1
        key = code, attempt.place, attempt.vtl
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(code, attempt.place)
        place.numbers.append(lengths.total())
        if length:
            place.listed.append(lengths.total() - lengths[0])
        if place.half is None and length > 1:
            # A list of one element cannot be done in part, and only longer ones than the part fit.
            half = length // 2
            number = sum(count for each, count in lengths.items() if each > half)
            place.half = CallFault(code, reps=half, occurrences=Occurrences(nth=number))

    def delivery(self, delivery: Delivery) -> None:
        """Note a delivery."""
        if PointKind(f"{delivery.kind}s") in self.kinds:
            self._deliveries[delivery] += 1

    def points(self, choice: Choice, configuration: PartitionConfiguration) -> list[Point]:
        """Return the points to try, each kind in the order of the run.

        Args:
            choice: which.
            configuration: what CPUID tells without lies.

        Raises:
            InputError: there is none.
        """
        points: list[Point] = []
        if PointKind.CALLS in self.kinds:
            points += self._of_calls(choice)
        points += self._of_deliveries(choice)
        if PointKind.CPUID in self.kinds:
            points += [Point(each) for each in possible_lies(configuration, self.leaves)]
        if PointKind.BUFFERS in self.kinds:
            points += [Point(BufferFault(each, 0)) for each in self._buffers()]
        if not points:
            made = [DECLARATIONS.find(code).name for code in self._lengths]
            wanted = ", ".join(each.value for each in PointKind if each in self.kinds)
            raise InputError(
                f"nothing that is asked for ({wanted}) can go wrong: the guest "
                + (f"calls {', '.join(made)}" if made else "makes no hypercalls")
            )
        return _spread(points, choice.most)

    def _of_calls(self, choice: Choice) -> list[Point]:
        points, whole = [], []
        places = [
            place
            for place in self._places.values()
            if choice.calls is None or place.code in choice.calls
        ]
        for place in places:
            points += [Point(fault, place.address) for fault in _place_faults(place, choice)]
        for code in dict.fromkeys(place.code for place in places):
            # A host on which a call never works is another matter than one failure.
            if self._lengths[code].total() > 1:
                whole += [Point(CallFault(code, each)) for each in _statuses(code, choice)]
        return points + whole

    def _of_deliveries(self, choice: Choice) -> list[Point]:
        # A fault that names no VTL is one of all.
        shared = Counter(
            (each.kind, each.number, each.sint, each.vp_index) for each in self._deliveries
        )
        points = []
        for delivery, count in self._deliveries.items():
            alone = shared[delivery.kind, delivery.number, delivery.sint, delivery.vp_index] == 1
            vtl = None if alone and not delivery.vtl else delivery.vtl
            for number in _spread(range(1, count + 1), choice.each):
                nth = Occurrences(nth=number)
                points += [
                    Point(_delivery_fault(delivery, vtl, nth, delay))
                    for delay in (None, choice.delay_ns)
                ]
        return points

    def _buffers(self) -> list[BufferKind]:
        kinds = []
        if Call.POST_MESSAGE in self._lengths:
            kinds += [BufferKind.MESSAGES, BufferKind.HOST_MESSAGES]
        if _DEBUG_CALLS & self._lengths.keys():
            kinds.append(BufferKind.DEBUG)
        return kinds


def _statuses(code: int, choice: Choice) -> list[HvStatus]:
    if choice.statuses is not None:
        return list(dict.fromkeys(choice.statuses))
    declared = [each.status for each in DECLARATIONS.find(code).statuses if each.status]
    return list(dict.fromkeys(declared))


def _place_faults(place: _Place, choice: Choice) -> list[CallFault]:
    faults = []
    code, whole = place.code, choice.statuses is None
    for number in _spread(place.numbers, choice.each):
        nth = Occurrences(nth=number)
        faults += [CallFault(code, each, occurrences=nth) for each in _statuses(code, choice)]
        if whole:
            faults.append(CallFault(code, time_ns=choice.delay_ns, occurrences=nth))
    if whole:
        faults += [
            CallFault(code, reps=0, occurrences=Occurrences(nth=number))
            for number in _spread(place.listed, choice.each)
        ]
        faults += [] if place.half is None else [place.half]
    return faults


def _delivery_fault(
    delivery: Delivery, vtl: int | None, occurrences: Occurrences, delay: int | None
) -> Fault:
    number, vp = delivery.number, delivery.vp_index
    if delivery.kind == "interrupt":
        return InterruptFault(number, delay, vp, vtl, occurrences)
    if delivery.kind == "timer":
        return TimerFault(number, delay, vp, vtl, occurrences)
    return MessageFault(number, delivery.sint, delay, vp, vtl, occurrences)


def _spread(items: Sequence[_Item], most: int | None) -> list[_Item]:
    """Return at most so many: the first, the last, and others evenly between."""
    count = len(items)
    if most is None or count <= most:
        return list(items)
    if most == 1:
        return [items[0]]
    return [items[number * (count - 1) // (most - 1)] for number in range(most)]
