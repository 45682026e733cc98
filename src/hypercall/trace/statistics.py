"""Counts of what a guest called: by call and outcome, when first and last, how long, from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.status import HvStatus
from hypercall.trace.events import Event, HypercallEvent
from hypercall.trace.hub import TraceHub

CONTINUED = "continued"
"""The outcome of an attempt that went back to the guest to be continued (DIGEST section 1.7)."""


@dataclass(slots=True)
class CallCount:
    """What is known of all calls of one name and one outcome.

    Attributes:
        name: the call's TLFS name, or ``call 0xbeef`` for a code that has none.
        outcome: the name of the HV_STATUS, ``#UD`` or another fault, or :data:`CONTINUED`.
        count: how often.
        reps: repetitions completed, all calls together; 0 for simple calls.
        first_ns: virtual time of the first, in nanoseconds.
        last_ns: virtual time of the last.
        total_ns: virtual time spent in them all.
        call_sites: how often from which return address; None where it is not known.
    """

    name: str
    outcome: str
    first_ns: int
    count: int = 0
    reps: int = 0
    last_ns: int = 0
    total_ns: int = 0
    call_sites: Counter[int | None] = field(default_factory=Counter)

    @property
    def mean_ns(self) -> float:
        """Mean virtual time of one call."""
        return self.total_ns / self.count


class Statistics:
    """Counts the hypercalls of a run.

    A subscriber like any other: ``Statistics().attach(machine.trace)``.
    """

    def __init__(self) -> None:
        # Found by what is cheap to get from a record; names are made when somebody asks.
        self._counts: dict[tuple[int, int | None, str | None, bool, bool], CallCount] = {}

    def attach(self, hub: TraceHub) -> Callable[[], None]:
        """Count every hypercall that the hub tells of; call the result to stop counting."""
        return hub.subscribe(self.count, HypercallEvent)

    def count(self, event: Event) -> None:
        """Count one event; only hypercalls count."""
        if not isinstance(event, HypercallEvent):
            return
        record = event.record
        result = record.result
        continued = record.continued
        key = (
            record.control & 0xFFFF,
            None if result is None else result & 0xFFFF,
            record.fault,
            continued,
            record.injected,
        )
        counted = self._counts.get(key)
        if counted is None:
            counted = self._counts[key] = CallCount(
                name=record.declaration.name if record.declaration else f"call {key[0]:#06x}",
                outcome=outcome_of(record),
                first_ns=record.entered_at,
            )
        counted.count += 1
        counted.last_ns = record.entered_at
        counted.total_ns += record.left_at - record.entered_at
        if result is not None and not continued:
            counted.reps += result >> 32 & 0xFFF
        counted.call_sites[event.position.call_site] += 1

    def add(
        self,
        code: int,
        status: int | None,
        fault: str | None,
        *,
        continued: bool = False,
        call_site: int | None = None,
        count: int,
        reps: int,
        first_ns: int,
        last_ns: int,
        total_ns: int,
    ) -> None:
        """Count calls that somebody else counted: all of one code and one outcome.

        Args:
            code: the call code.
            status: the HV_STATUS, or None without a result.
            fault: what came in place of a result, or None.
            continued: whether the attempts were to be continued.
            call_site: the return address, or None where it is not known.
            count: how many calls.
            reps: repetitions completed, all calls together.
            first_ns: time of the first.
            last_ns: time of the last.
            total_ns: time spent in them all.
        """
        key = (code, status, fault, continued, False)
        counted = self._counts.get(key)
        if counted is None:
            declaration = DECLARATIONS.by_code.get(code)
            counted = self._counts[key] = CallCount(
                name=declaration.name if declaration else f"call {code:#06x}",
                outcome=_outcome(status, fault, continued),
                first_ns=first_ns,
            )
        counted.count += count
        counted.reps += reps
        counted.first_ns = min(counted.first_ns, first_ns)
        counted.last_ns = max(counted.last_ns, last_ns)
        counted.total_ns += total_ns
        counted.call_sites[call_site] += count

    def replace(self, other: Statistics) -> None:
        """Take over what another one has counted, which is not to be used any more."""
        self._counts = other._counts

    @property
    def total(self) -> int:
        """How many calls were made; an attempt that was to be continued is not one."""
        return sum(c.count for c in self._counts.values() if c.outcome != CONTINUED)

    def by_call(self) -> list[CallCount]:
        """Return the counts, most frequent first; equals by name and outcome."""
        return sorted(
            self._counts.values(),
            key=lambda counted: (-counted.count, counted.name, counted.outcome),
        )


def outcome_of(record: CallRecord) -> str:
    """Return what came of a call: a status by name, a fault, or :data:`CONTINUED`.

    A status that an injected fault has answered says so.
    """
    status = None if record.result is None else record.result & 0xFFFF
    outcome = _outcome(status, record.fault, record.continued)
    answered = record.injected and not record.continued
    return f"{outcome} (injected)" if answered else outcome


def _outcome(status: int | None, fault: str | None, continued: bool) -> str:
    if fault is not None:
        return fault
    if continued:
        return CONTINUED
    if status is None:
        # Calls that switch the trust level have no result.
        return "done"
    try:
        return HvStatus(status).name
    except ValueError:
        return f"status {status:#06x}"
