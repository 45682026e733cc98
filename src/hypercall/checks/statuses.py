"""Statuses that a guest does not look at: the next action shows it."""

from __future__ import annotations

from dataclasses import dataclass

from hypercall.abi.record import CallRecord
from hypercall.checks.check import Check
from hypercall.checks.code import Fate, fate_of_result
from hypercall.checks.facts import Facts
from hypercall.checks.finding import Findings
from hypercall.checks.placement import has_whole_input
from hypercall.checks.rule import Need, Rule, Severity, Source
from hypercall.tlfs.control import CODE_MASK
from hypercall.tlfs.status import HvStatus, status_text
from hypercall.trace.events import Event, HypercallEvent

IGNORED_STATUS = Rule(
    "ignored-status",
    Severity.WARNING,
    Source.MACHINE,
    "A call failed, and the code after it overwrites the status before anything has read it.",
    "What the call was to do is not done, and the guest goes on as if it were.",
    "hypercall-interface, Hypercall Outputs",
)
HOPELESS_RETRY = Rule(
    "hopeless-retry",
    Severity.WARNING,
    Source.EVENTS,
    "A call that failed was made again from the same place with the same input, three times and"
    " more, although its status says that this cannot help.",
    "Only a few statuses are about a shortage that passes. With the others the guest does the same"
    " for ever, or does not look at the status at all.",
    "hypercall-interface, Hypercall Status Codes",
    needs=(Need.RESULTS, Need.INPUT),
)

_PASSING = frozenset(
    {
        HvStatus.SUCCESS,
        HvStatus.INSUFFICIENT_MEMORY,
        HvStatus.INSUFFICIENT_BUFFERS,
        HvStatus.INVALID_SYNIC_STATE,
        HvStatus.INVALID_VTL_STATE,
        HvStatus.INVALID_VP_STATE,
        HvStatus.NO_DATA,
        HvStatus.TIMEOUT,
    }
)
"""Statuses that another attempt may not meet again."""

_ENOUGH = 3


@dataclass(slots=True)
class _Failure:
    control: int
    input: bytes
    input_register: int
    times: int = 1


class StatusCheck(Check):
    """Looks at calls that failed, and at what their callers do next."""

    rules = (IGNORED_STATUS, HOPELESS_RETRY)
    kinds = (HypercallEvent,)

    def __init__(self, facts: Facts, findings: Findings) -> None:
        super().__init__(facts, findings)
        # The last failure of each processor in each VTL at each place.
        self._failures: dict[tuple[int, int, int], _Failure] = {}
        self._ignoring: dict[int, bool] = {}

    def see(self, event: Event) -> None:
        """Look at a call."""
        assert isinstance(event, HypercallEvent)
        record = event.record
        if record.result is None or record.continued:
            return
        if not record.result & 0xFFFF:
            if self._failures:
                position = event.position
                key = (position.vp_index, position.vtl, position.place)
                self._failures.pop(key, None)
            return
        self._see_failure(event, record, record.result & 0xFFFF)

    def _see_failure(self, event: HypercallEvent, record: CallRecord, status: int) -> None:
        position = event.position
        place = position.place
        code = record.control & CODE_MASK
        name = record.declaration.name if record.declaration else f"The call {code:#06x}"
        failed = f"{name} failed with {status_text(status)}"
        if position.call_site is not None and self._is_ignored(place):
            text = f"{failed}, and the caller does not look at it."
            self.findings.add(IGNORED_STATUS, position, text, code)
        if status in _PASSING or not (self.facts.is_complete or has_whole_input(record)):
            return
        key = (position.vp_index, position.vtl, place)
        last = self._failures.get(key)
        if last is None or (last.control, last.input, last.input_register) != (
            record.control,
            record.input,
            record.input_register,
        ):
            self._failures[key] = _Failure(record.control, record.input, record.input_register)
            if len(self._failures) > 1024:
                del self._failures[next(iter(self._failures))]
            return
        last.times += 1
        if last.times >= _ENOUGH:
            text = f"{failed}, and was made again {last.times - 1} times."
            self.findings.add(HOPELESS_RETRY, position, text, code)

    def _is_ignored(self, place: int) -> bool:
        known = self._ignoring.get(place)
        if known is None:
            facts = self.facts
            known = fate_of_result(facts.code, facts.word_size(), place) is Fate.OVERWRITTEN
            self._ignoring[place] = known
        return known
