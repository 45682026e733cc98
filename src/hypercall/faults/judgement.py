"""How a run with a fault went, by comparison with the same run without."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hypercall.errors import InputError
from hypercall.machine.result import RunResult, StopReason

_STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *\S+\])? ?")
# The kernel may write between two parts of a line of the user's.
_KERNEL_TEXT = re.compile(r"\[ *\d+\.\d+\][^\n]*(?:\n|$)")
# What differs from run to run: times, processes, addresses.
_NUMBER = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+")
_LOCKUP = r"(?:soft|hard|workqueue) lockup"
_DAMAGE = re.compile(
    rf"BUG: (?!{_LOCKUP})|kernel BUG at|Oops|general protection|segfault|\btraps:|Bad page"
    r"|\bcorrupt"
)
_COMPLAINT = re.compile(
    rf"BUG: {_LOCKUP}|WARNING:|rcu:.*stall|hard LOCKUP|unchecked MSR|blocked for more than"
    r"|Call Trace:|\bstack: *\d|nobody cared|Marking clocksource .* unstable|watchdog: "
)
_LONGEST = 200
_BAD_ENDS = frozenset({StopReason.PANIC, StopReason.TRIPLE_FAULT})
_NO_ENDS = frozenset({StopReason.LIMIT, StopReason.DEADLOCK})
# From here on the time that a guest lost is worth a word.
_MUCH_LONGER, _LONGER_NS = 1.2, 100_000_000


class Outcome(Enum):
    """What a fault did to the guest."""

    SURVIVED = "survived"
    """It ended as it does without the fault, and wrote what it was to write."""
    COMPLAINED = "complained"
    """It survived, but its kernel warned of something, or the checks found a mistake."""
    PANICKED = "panicked"
    """It panicked, reported a crash or triple-faulted."""
    HUNG = "hung"
    """It came to no end within the limit of virtual time, or halted for ever."""
    CORRUPTED = "corrupted"
    """It ended, but otherwise: another end or exit code, lines of its console are missing, its
    kernel or a process of it was hit, or it used a translation that should have been flushed."""
    FAILED = "failed"
    """The tool itself failed, and nothing is known of the guest."""


HARM = frozenset({Outcome.PANICKED, Outcome.HUNG, Outcome.CORRUPTED})
"""What a guest should never do, whatever goes wrong."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a fault did to the guest, and how that shows.

    Attributes:
        outcome: what it did.
        detail: one line for people; may be empty.
    """

    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, and what was seen of it.

    Attributes:
        result: how it ended.
        console: what the guest wrote to its console.
        findings: what the checks found that is more than advice, a line for each.
        damage: those of the findings that tell of damage that is done.
        complaint: what the user's own check has to say against it, or None.
        places: where the processors were at the end, one line, or empty.
    """

    result: RunResult
    console: bytes = b""
    findings: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()
    complaint: str | None = None
    places: str = ""


class Baseline:
    """The run without faults.

    Args:
        ending: how it ended.
        expected: texts that its console must have; without them all lines that are not the
            kernel's, numbers aside, and its last line without the kernel's time stamp.
        start_ns: the virtual time at which the runs began.

    Raises:
        InputError: the guest fails even without faults, or does not write what is expected.
    """

    def __init__(self, ending: Ending, expected: Sequence[str] = (), *, start_ns: int = 0) -> None:
        result = ending.result
        ended = result.reason is StopReason.POWER_OFF
        ended |= result.reason is StopReason.DEBUG_EXIT and not result.exit_code
        if not ended:
            raise InputError(
                f"without any fault the guest does not end well ({_end(result)}): give one that"
                " powers off or passes by itself, or more time with --limit"
            )
        if ending.complaint is not None:
            raise InputError(f"even without faults the check complains: {ending.complaint}")
        self.result = result
        self._start = start_ns
        text = _text(ending.console)
        for each in expected:
            if each not in text:
                raise InputError(f"even without faults the console has no {each!r}: expect another")
        self._known = set(_kernel_lines(text))
        self._expected = tuple(expected)
        self._lines = () if expected else _user_lines(text)
        if "Linux version" in text and not self._known:
            # A kernel without time stamps: what it says may differ, and cannot be told apart.
            self._lines = self._lines[-1:]
        self._known.update(map(_plain, ending.findings + ending.damage))
        self._last = "" if expected else next(iter(_kernel_lines(text, last=True).values()), "")

    def judge(self, ending: Ending) -> Verdict:
        """Compare a run with this one."""
        result, own = ending.result, self.result
        text = _text(ending.console)
        new = [line for plain, line in _kernel_lines(text).items() if plain not in self._known]
        damage = [line for line in new if _DAMAGE.search(line)]
        complaints = [line for line in new if _COMPLAINT.search(line)]
        if result.reason in _BAD_ENDS:
            return Verdict(Outcome.PANICKED, _short(result.detail or _end(result)))
        if result.reason in _NO_ENDS:
            said = next(iter(damage + complaints), _end(result))
            return Verdict(Outcome.HUNG, _short(said, ending.places))
        if (result.reason, result.exit_code) != (own.reason, own.exit_code):
            return Verdict(Outcome.CORRUPTED, _short(_end(result), *damage))
        harm = [] if ending.complaint is None else [ending.complaint]
        harm += [f"the console lacks {line!r}" for line in self._missing(text)[:1]]
        harm += damage
        harm += [each for each in ending.damage if _plain(each) not in self._known]
        if harm:
            return Verdict(Outcome.CORRUPTED, _short(harm[0]))
        complaints += [each for each in ending.findings if _plain(each) not in self._known]
        if complaints:
            return Verdict(Outcome.COMPLAINED, _short(complaints[0]))
        notes = [f"says: {line}" for line in new[:1]]
        took, usual = result.virtual_ns - self._start, own.virtual_ns - self._start
        if took > usual * _MUCH_LONGER + _LONGER_NS:
            notes.append(f"took {took / usual:.1f} times as long")
        return Verdict(Outcome.SURVIVED, _short(*notes))

    def _missing(self, text: str) -> list[str]:
        if self._expected:
            return [each for each in self._expected if each not in text]
        there = Counter(_plain(line) for line in _user_lines(text))
        missing = []
        for line in self._lines:
            plain = _plain(line)
            there[plain] -= 1
            if there[plain] < 0:
                missing.append(line)
        if self._last and _plain(self._last) not in _kernel_lines(text):
            missing.append(self._last)
        return missing


def _text(console: bytes) -> str:
    return console.decode("utf-8", "replace").replace("\r\n", "\n")


def _plain(line: str) -> str:
    return _NUMBER.sub("#", line.strip())


def _user_lines(text: str) -> tuple[str, ...]:
    """The lines that are not the kernel's; all of them if it gives its own no time stamps."""
    return tuple(line for line in _KERNEL_TEXT.sub("", text).splitlines() if line.strip())


def _kernel_lines(text: str, *, last: bool = False) -> dict[str, str]:
    """The kernel's lines without their time stamps, by what they are without numbers.

    Args:
        text: the console.
        last: only the last one, and that only if it is the last of all.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    found: dict[str, str] = {}
    for line in lines[-1:] if last else lines:
        whole = _KERNEL_TEXT.search(line)
        if whole is not None:
            said = _STAMP.sub("", whole[0]).strip()
            found.setdefault(_plain(said), said)
    return found


def _end(result: RunResult) -> str:
    text = result.reason.name.lower().replace("_", " ")
    if result.exit_code is not None:
        text += f" with the value {result.exit_code}"
    return f"{text}: {result.detail}" if result.detail else text


def _short(*texts: str) -> str:
    line = "; ".join(" ".join(text.split()) for text in texts if text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
