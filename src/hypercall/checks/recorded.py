"""Checks a recorded run: what was found as it ran, what its events show, and what they cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from hypercall.abi.record import CallRecord
from hypercall.checks.checker import Checker
from hypercall.checks.facts import DescribedFacts
from hypercall.checks.finding import MOST_FINDINGS, Finding
from hypercall.checks.placement import list_sizes
from hypercall.checks.rule import Need, Rule, Severity, Source
from hypercall.checks.rules import RULES, rule_named
from hypercall.printable import printable
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.trace.description import RunDescription
from hypercall.trace.events import Event, FindingEvent, HypercallEvent, MsrEvent

_Key = tuple[str, int, int, str]

_LONGEST_TEXT = 1000
_LONGEST_NAME = 60
_MOST_SIZES = 4096
# Calls that were under way when the recording began or ended are not whole.
_HARDLY_ANY = 100
_ESTABLISHING = frozenset({SyntheticMsr.GUEST_OS_ID, SyntheticMsr.HYPERCALL})


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Rules that could not be looked at, or not at every call.

    Attributes:
        reason: what the recording does not have that they need.
        rules: the rules.
        in_part: whether they found what they could without it.
    """

    reason: str
    rules: tuple[Rule, ...]
    in_part: bool


@dataclass(frozen=True, slots=True)
class _Lack:
    """What a recording lacks: of how many calls, and whether rules can do something without."""

    need: Need
    extent: str = ""
    in_part: bool = False


class RecordedChecks:
    """Checks a recorded run; give it every event in its order.

    The findings that the recording tells of are taken over, and the rules that need nothing but
    events look at all of them. Of a run that was checked as it ran they only count.

    Attributes:
        on_new: called with each finding when it is new.
    """

    def __init__(
        self, description: RunDescription, on_new: Callable[[Finding], None] | None = None
    ) -> None:
        """Begin.

        Args:
            description: what is known of the run.
            on_new: called with each finding when it is new.
        """
        self.on_new = on_new
        self._description = description
        # Older recordings do not say so, but have findings.
        self._checked = description.checks in ("on", "stale")
        self._checker = Checker(DescribedFacts(description), self._found)
        self._told: dict[_Key, Finding] = {}
        self._new: set[_Key] = set()
        # How much input a call has, by its control word.
        self._sizes: dict[int, int] = {}
        self._left_out = 0
        self._calls = self._results = self._inputs = 0
        self._msrs = self._interface = self._finished = False

    def feed(self, event: Event) -> None:
        """Look at an event."""
        if isinstance(event, FindingEvent):
            self._take_over(event)
            return
        if isinstance(event, HypercallEvent):
            self._count(event.record)
        elif isinstance(event, MsrEvent):
            self._msrs = True
            self._interface |= event.write and event.index in _ESTABLISHING
        self._checker.feed(event)

    def _count(self, record: CallRecord) -> None:
        self._calls += 1
        self._results += record.result is not None or record.continued
        size = self._sizes.get(record.control)
        if size is None:
            if len(self._sizes) >= _MOST_SIZES:
                self._sizes.clear()
            declaration = record.declaration
            size = 0 if declaration is None else list_sizes(declaration, record.control).input
            self._sizes[record.control] = size
        self._inputs += len(record.input) >= size

    def finish(self) -> None:
        """Let the rules report what shows only at the end, once."""
        if not self._finished:
            self._finished = True
            self._checker.finish()

    @property
    def findings(self) -> list[Finding]:
        """What was found so far: what the recording tells of, and what the rules found besides."""
        known = dict(self._told)
        for finding in self._checker.findings:
            told = known.get(_key(finding))
            if told is not None:
                told.count = max(told.count, finding.count)
                told.last_ns = max(told.last_ns, finding.last_ns)
            elif not self._checked:
                known[_key(finding)] = finding
        return list(known.values())

    @property
    def failures(self) -> list[Finding]:
        """The findings that are more than advice."""
        return [each for each in self.findings if each.rule.severity is not Severity.ADVICE]

    @property
    def left_out(self) -> int:
        """How many places were not taken up, for there were too many."""
        return self._left_out + self._checker.left_out

    @property
    def unchecked(self) -> list[Unchecked]:
        """The rules that say nothing of this recording, or not all, by what they lack."""
        found = []
        if not self._checked:
            found.append(_rules_of(Source.MACHINE, "the machine while it runs"))
        if self._description.checks != "stale":
            found.append(_rules_of(Source.TRANSLATIONS, "the translations that processors keep"))
        if self._checked:
            return found
        named: set[Rule] = set()
        for lack in sorted(self._lacking(), key=lambda lack: lack.in_part):
            rules = tuple(rule for rule in RULES if lack.need in rule.needs and rule not in named)
            if rules:
                found.append(Unchecked(lack.need.value + lack.extent, rules, lack.in_part))
            if not lack.in_part:
                named.update(rules)
        return found

    def _lacking(self) -> Iterator[_Lack]:
        """Yield what the recording lacks of what rules need."""
        description, calls = self._description, self._calls
        if description.recommendations is None:
            yield _Lack(Need.RECOMMENDATIONS)
        if not self._msrs:
            yield _Lack(Need.MSRS)
        if not self._interface:
            yield _Lack(Need.INTERFACE)
        yield from _few(Need.RESULTS, self._results, calls)
        if description.source != "hypercall":
            yield _Lack(Need.CONTROL_WORDS, in_part=True)
            yield from _few(Need.INPUT, self._inputs, calls)
        if description.privileges is None or not self._msrs:
            yield _Lack(Need.PRIVILEGES, in_part=True)
        yield _Lack(Need.DEVICE_WRITES, in_part=True)

    def _take_over(self, event: FindingEvent) -> None:
        self._checked = True
        rule = _rule_of(event)
        text = printable(event.text, _LONGEST_TEXT)
        key = (rule.name, event.position.place, event.position.vtl, text)
        known = self._told.get(key)
        if known is not None:
            known.count += 1
            known.last_ns = event.position.time_ns
        elif len(self._told) >= MOST_FINDINGS:
            self._left_out += 1
        else:
            finding = Finding(rule, event.position, text, last_ns=event.position.time_ns)
            finding.code, finding.code_address = event.code, event.code_address
            finding.bits = event.bits
            self._told[key] = finding
            self._tell(finding)

    def _found(self, finding: Finding) -> None:
        if not self._checked:
            self._tell(finding)

    def _tell(self, finding: Finding) -> None:
        if self.on_new is not None and _key(finding) not in self._new:
            self._new.add(_key(finding))
            self.on_new(finding)


def offline_findings(
    events: Iterable[Event], description: RunDescription | None = None
) -> list[Finding]:
    """Check a recorded trace by the rules that need nothing but events.

    Args:
        events: in the order of the trace.
        description: what is known of the run; with it a few more rules apply.

    Returns:
        The findings in the order in which they were made, with the counts of the whole trace.
    """
    checks = RecordedChecks(description or RunDescription())
    for event in events:
        checks.feed(event)
    checks.finish()
    return checks.findings


def _few(need: Need, known: int, calls: int) -> Iterator[_Lack]:
    lacking = calls - known
    if lacking * _HARDLY_ANY > calls:
        yield _Lack(need, f" ({lacking:,} of {calls:,} calls)", in_part=known > 0)


def _key(finding: Finding) -> _Key:
    position = finding.position
    return (finding.rule.name, position.place, position.vtl, finding.text)


def _rules_of(source: Source, reason: str) -> Unchecked:
    return Unchecked(reason, tuple(rule for rule in RULES if rule.source is source), False)


def _rule_of(event: FindingEvent) -> Rule:
    rule = rule_named(event.rule)
    if rule is not None:
        return rule
    # Of another version of this program.
    severity = next((each for each in Severity if each.value == event.severity), Severity.WARNING)
    name = printable(event.rule, _LONGEST_NAME)
    return Rule(name, severity, Source.MACHINE, "", "", "")
