"""The points of a run where something could go wrong: what a sweep tries one after another."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from hypercall.errors import InputError
from hypercall.faults.calls import CallAttempt
from hypercall.faults.deliveries import Delivery
from hypercall.faults.fault import (
    CallFault,
    Fault,
    InterruptFault,
    MessageFault,
    Occurrences,
    TimerFault,
)
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.status import HvStatus

_FIRST = Occurrences(nth=1)


class DeliveryKind(Enum):
    """What a sweep can lose."""

    INTERRUPTS = "interrupts"
    MESSAGES = "messages"
    TIMERS = "timers"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which points a sweep tries.

    Attributes:
        calls: the codes of the calls, or None for all that the guest makes.
        statuses: the statuses of each call; None for those of its declaration, and for a rep call
            also SUCCESS with half of its reps.
        drops: the kinds of deliveries of which each one's first is lost.
        most: at most so many points, spread over all; None for all.
    """

    calls: frozenset[int] | None = None
    statuses: tuple[HvStatus, ...] | None = None
    drops: frozenset[DeliveryKind] = frozenset()
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """One point.

    Attributes:
        fault: what goes wrong there; its text is all that is needed to meet it again.
        place: where the guest makes the call, or None for a delivery.
    """

    fault: Fault
    place: int | None = None


@dataclass(slots=True)
class _Call:
    """The calls of one code from one place: what stands for them."""

    code: int
    place: int
    first: Occurrences
    partial: CallFault | None = None


@dataclass(slots=True)
class Recorder:
    """Notes what a run does that could go wrong; give its methods to `Faults.observe`.

    Attributes:
        drops: the kinds of deliveries that are wanted.
    """

    drops: frozenset[DeliveryKind] = frozenset()
    _lengths: dict[int, Counter[int]] = field(default_factory=dict)
    _calls: dict[tuple[int, int], _Call] = field(default_factory=dict)
    _deliveries: dict[Delivery, None] = field(default_factory=dict)

    def call(self, attempt: CallAttempt) -> None:
        """Note a call."""
        plan = attempt.plan
        code, length = plan.call.code, plan.rep_count
        lengths = self._lengths.setdefault(code, Counter())
        lengths[length] += 1
        key = code, attempt.place
        noted = self._calls.get(key)
        if noted is None:
            first = Occurrences(nth=lengths.total())
            noted = self._calls[key] = _Call(code, attempt.place, first)
        if noted.partial is None and length > 1:
            # A list of one element cannot be done in part, and only longer ones than the part fit.
            half = length // 2
            number = sum(count for each, count in lengths.items() if each > half)
            noted.partial = CallFault(code, reps=half, occurrences=Occurrences(nth=number))

    def delivery(self, delivery: Delivery) -> None:
        """Note a delivery."""
        if DeliveryKind(f"{delivery.kind}s") in self.drops:
            self._deliveries.setdefault(delivery)

    def points(self, choice: Choice) -> list[Point]:
        """Return the points to try, calls first, each kind in the order of the run.

        Raises:
            InputError: there is none.
        """
        points = [
            Point(fault, call.place)
            for call in self._calls.values()
            if choice.calls is None or call.code in choice.calls
            for fault in _call_faults(call, choice.statuses)
        ]
        points += [Point(_drop(delivery)) for delivery in self._deliveries]
        if not points:
            made = [DECLARATIONS.find(code).name for code in self._lengths]
            raise InputError(
                "nothing that is asked for can go wrong: the guest "
                + (f"calls {', '.join(made)}" if made else "makes no hypercalls")
                + ", and --drop adds deliveries"
            )
        if choice.most is not None and choice.most < len(points):
            points = [points[number * len(points) // choice.most] for number in range(choice.most)]
        return points


def _call_faults(call: _Call, statuses: tuple[HvStatus, ...] | None) -> list[CallFault]:
    declared = [each.status for each in DECLARATIONS.find(call.code).statuses if each.status]
    chosen = dict.fromkeys(declared if statuses is None else statuses)
    faults = [CallFault(call.code, status, occurrences=call.first) for status in chosen]
    if statuses is None and call.partial is not None:
        faults.append(call.partial)
    return faults


def _drop(delivery: Delivery) -> Fault:
    vp, vtl = delivery.vp_index, delivery.vtl or None
    if delivery.kind == "interrupt":
        return InterruptFault(delivery.number, vp=vp, vtl=vtl, occurrences=_FIRST)
    if delivery.kind == "timer":
        return TimerFault(delivery.number, vp=vp, vtl=vtl, occurrences=_FIRST)
    return MessageFault(delivery.number, delivery.sint, vp=vp, vtl=vtl, occurrences=_FIRST)
