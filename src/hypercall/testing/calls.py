"""Calls that were recorded, to be counted, filtered and compared in assertions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

from hypercall.abi.decoder import DecodedCall, decode_call
from hypercall.errors import InputError
from hypercall.faults.fault import Site
from hypercall.faults.grammar import parse_site
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import HypercallEvent
from hypercall.trace.strace import StraceWriter

_SHOWN = 40


class RecordedCall:
    """A call that a guest made, from its entry into the hypervisor to its result.

    Args:
        event: the event of its last attempt.
        entered_ns: the virtual time at which the guest issued it first.
        symbol: the guest's name for an address, or None.

    Attributes:
        event: the event, with position and record.
        entered_ns: the virtual time at which the guest issued it first.
    """

    def __init__(
        self, event: HypercallEvent, entered_ns: int, symbol: Callable[[int], str | None]
    ) -> None:
        self.event = event
        self.entered_ns = entered_ns
        self._symbol = symbol

    @cached_property
    def decoded(self) -> DecodedCall:
        """The call taken apart."""
        return decode_call(self.event.record)

    @property
    def code(self) -> int:
        """The call code."""
        return self.event.record.control & 0xFFFF

    @property
    def name(self) -> str:
        """The TLFS's name."""
        return self.decoded.name

    @property
    def vp(self) -> int:
        """The VP index of the caller."""
        return self.event.position.vp_index

    @property
    def vtl(self) -> int:
        """The VTL of the caller."""
        return self.event.position.vtl

    @property
    def left_ns(self) -> int:
        """The virtual time at which the guest had its result."""
        return self.event.record.left_at

    @property
    def latency_ns(self) -> int:
        """The virtual time that the call took, with what came in between if it was continued."""
        return self.left_ns - self.entered_ns

    @property
    def address(self) -> int:
        """The guest-virtual address behind the call, as traces show it."""
        position = self.event.position
        return position.rip if position.call_site is None else position.call_site

    @cached_property
    def site(self) -> str:
        """Where it was made from: ``symbol+0x1a`` or ``symbol+0x1a [module]``, or the address."""
        return self._symbol(self.address) or f"{self.address:#x}"

    @property
    def status(self) -> HvStatus | int | None:
        """The status; a number if it has no name, None if there was no result (#UD, a switch)."""
        status = self.decoded.status
        try:
            return None if status is None else HvStatus(status)
        except ValueError:
            return status

    @property
    def reps_completed(self) -> int:
        """The elements that the result says were completed."""
        return self.decoded.reps_completed

    @property
    def fault(self) -> str | None:
        """What the guest got instead of a result, for instance ``"#UD"``, or None."""
        return self.event.record.fault

    @cached_property
    def arguments(self) -> Mapping[str, Any]:
        """The input by the names of its fields, as traces name them."""
        return MappingProxyType({each.name: each.value for each in self.decoded.arguments})

    @cached_property
    def outputs(self) -> Mapping[str, Any]:
        """The output by the names of its fields; empty when none was written."""
        return MappingProxyType({each.name: each.value for each in self.decoded.outputs})

    def __str__(self) -> str:
        lines: list[str] = []
        StraceWriter(lines.append, self._symbol).write(self.event)
        return "".join(lines).strip()

    def __repr__(self) -> str:
        return f"<{self}>"


class Count(int):
    """A number of calls, which knows them, so that a failed assertion can list them."""

    calls: Calls


class Order(list[Call | int]):
    """Call codes in the order of the calls, which knows them too."""

    calls: Calls


class Calls:
    """Calls in the order in which they were completed.

    Args:
        calls: the calls.
        text: how they were chosen, for messages.
    """

    def __init__(self, calls: list[RecordedCall], text: str) -> None:
        self._calls = calls
        self._text = text

    def of(self, *calls: Call | int) -> Calls:
        """Choose those of some kinds.

        Args:
            calls: which.
        """
        codes = {int(call) for call in calls}
        names = ", ".join(call.name if isinstance(call, Call) else f"{call:#x}" for call in calls)
        return Calls(
            [call for call in self._all() if call.code in codes], f"{self._text}.of({names})"
        )

    def where(
        self,
        *,
        vp: int | None = None,
        vtl: int | None = None,
        site: str | int | None = None,
        status: HvStatus | int | None = None,
        after_ns: int | None = None,
        before_ns: int | None = None,
        **arguments: Any,
    ) -> Calls:
        """Choose by caller, place, result, time and arguments; all that is given must fit.

        Args:
            vp: the VP index of the caller.
            vtl: its VTL.
            site: where it was made from: ``symbol``, ``symbol+0x1a`` or an address; a symbol may
                have its module behind it, as in ``"hv_post_message [hv_vmbus]"``.
            status: the status.
            after_ns: made later than this virtual time.
            before_ns: made earlier than this.
            arguments: what an argument is, by its name; or a function that tells of its value
                whether it fits.

        Raises:
            InputError: there are calls, but none has an argument of that name.
        """
        filters = {"vp": vp, "vtl": vtl, "site": site, "status": status}
        filters |= {"after_ns": after_ns, "before_ns": before_ns}
        given = {name: value for name, value in filters.items() if value is not None} | arguments
        chosen = self._all()
        if vp is not None:
            chosen = [call for call in chosen if call.vp == vp]
        if vtl is not None:
            chosen = [call for call in chosen if call.vtl == vtl]
        if site is not None:
            place = _site(site)
            chosen = [call for call in chosen if place.covers(call.address, call.site)]
        if status is not None:
            chosen = [call for call in chosen if call.status == status]
        if after_ns is not None:
            chosen = [call for call in chosen if call.entered_ns > after_ns]
        if before_ns is not None:
            chosen = [call for call in chosen if call.entered_ns < before_ns]
        for name, wanted in arguments.items():
            self._check_argument(name)
            chosen = [call for call in chosen if _fits(call.arguments, name, wanted)]
        text = ", ".join(f"{name}={_shown(value)}" for name, value in given.items())
        return Calls(chosen, f"{self._text}.where({text})")

    @property
    def count(self) -> Count:
        """How many there are."""
        count = Count(len(self))
        count.calls = self._fixed()
        return count

    @property
    def order(self) -> Order:
        """Their call codes in order, to be compared with a list of `Call`."""
        order = Order(_call(call.code) for call in self._all())
        order.calls = self._fixed()
        return order

    @property
    def latencies_ns(self) -> list[int]:
        """The virtual time that each took."""
        return [call.latency_ns for call in self._all()]

    @property
    def first(self) -> RecordedCall:
        """The first; InputError if there is none."""
        return self._some()[0]

    @property
    def last(self) -> RecordedCall:
        """The last; InputError if there is none."""
        return self._some()[-1]

    @property
    def slowest(self) -> RecordedCall:
        """The one that took most virtual time; InputError if there is none."""
        return max(self._some(), key=lambda call: call.latency_ns)

    def lines(self) -> list[str]:
        """The calls as lines of a trace; of many the first and last."""
        calls = self._all()
        if len(calls) <= _SHOWN:
            return [str(call) for call in calls]
        half = _SHOWN // 2
        left_out = f"... {len(calls) - 2 * half} more ..."
        return [
            *(str(call) for call in calls[:half]),
            left_out,
            *(str(call) for call in calls[-half:]),
        ]

    def __len__(self) -> int:
        return len(self._all())

    def __iter__(self) -> Iterator[RecordedCall]:
        return iter(self._all())

    def __getitem__(self, index: int) -> RecordedCall:
        return self._all()[index]

    def __repr__(self) -> str:
        return f"<{self._text}: {_number_text(len(self._calls))}>"

    @property
    def text(self) -> str:
        """How they were chosen."""
        return self._text

    def _all(self) -> list[RecordedCall]:
        return self._calls

    def _fixed(self) -> Calls:
        return Calls(list(self._all()), self._text)

    def _some(self) -> list[RecordedCall]:
        calls = self._all()
        if not calls:
            raise InputError(f"{self._text} are no calls: the guest made none that fit")
        return calls

    def _check_argument(self, name: str) -> None:
        names = {each: None for call in self._all() for each in call.arguments}
        if names and name not in names:
            raise InputError(
                f"none of {self._text} has an argument {name!r}: there are {', '.join(names)}"
            )


def explain(operator: str, left: object, right: object) -> list[str] | None:
    """Explain a comparison that failed, if it was one of calls.

    Args:
        operator: for instance ``"=="``.
        left: what was compared.
        right: with what.

    Returns:
        Lines for people, or None if no calls were compared.
    """
    known = left if isinstance(left, Count | Order) else right
    if not isinstance(known, Count | Order):
        return None
    calls = known.calls
    listed = [f"  {line}" for line in calls.lines()] or ["  (none)"]
    return [
        f"{_side(left)} {operator} {_side(right)}",
        f"{calls.text}: {_number_text(len(calls))}",
        *listed,
    ]


def _side(value: object) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_shown(each) for each in value) + "]"
    return _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, Call | HvStatus):
        return value.name
    return getattr(value, "__name__", None) or repr(value)


def _number_text(number: int) -> str:
    return f"{number} call{'' if number == 1 else 's'}"


def _call(code: int) -> Call | int:
    try:
        return Call(code)
    except ValueError:
        return code


def _site(site: str | int) -> Site:
    if isinstance(site, int):
        return Site(address=site)
    return parse_site(site)


def _fits(arguments: Mapping[str, Any], name: str, wanted: Any) -> bool:
    if name not in arguments:
        return False
    value = arguments[name]
    return bool(wanted(value)) if callable(wanted) else bool(value == wanted)
