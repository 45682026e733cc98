"""How a run with a fault went, by comparison with the same run without."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from hypercall.errors import InputError
from hypercall.machine.result import RunResult, StopReason

_STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *\S+\])? ?")
_COMPLAINT = re.compile(
    r"BUG:|WARNING:|Oops|general protection|segfault|rcu:.*stall|soft lockup|hard LOCKUP"
    r"|unchecked MSR|blocked for more than"
)
_LONGEST = 160
_BAD_ENDS = frozenset({StopReason.PANIC, StopReason.TRIPLE_FAULT})
_NO_ENDS = frozenset({StopReason.LIMIT, StopReason.DEADLOCK})


class Outcome(Enum):
    """What a fault did to the guest."""

    SURVIVED = "survived"
    """It ended as it does without the fault, and wrote what it was to write."""
    PANICKED = "panicked"
    """It panicked, reported a crash or triple-faulted."""
    HUNG = "hung"
    """It came to no end within the limit of virtual time, or halted for ever."""
    CORRUPTED = "corrupted"
    """It ended, but otherwise: another end or exit code, or lines of its console are missing."""
    FAILED = "failed"
    """The tool itself failed, and nothing is known of the guest."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a fault did to the guest, and how that shows.

    Attributes:
        outcome: what it did.
        detail: one line for people; may be empty.
    """

    outcome: Outcome
    detail: str = ""


class Baseline:
    """The run without faults.

    Args:
        result: how it ended.
        console: what the guest wrote to its console.
        expected: texts that its console must have; without them its last line, and its last line
            that is not the kernel's, both without the kernel's time stamps.

    Raises:
        InputError: the guest fails even without faults, or does not write what is expected.
    """

    def __init__(self, result: RunResult, console: bytes, expected: Sequence[str] = ()) -> None:
        ended = result.reason is StopReason.POWER_OFF
        ended |= result.reason is StopReason.DEBUG_EXIT and not result.exit_code
        if not ended:
            raise InputError(
                f"without any fault the guest does not end well ({_end(result)}): give one that"
                " powers off or passes by itself, or more time with --limit"
            )
        self.result = result
        text = _text(console)
        for each in expected:
            if each not in text:
                raise InputError(f"even without faults the console has no {each!r}: expect another")
        self._complaints = _complaints(text)
        self._expected = tuple(expected)
        self._lines = () if expected else _last_lines(text)

    def judge(self, result: RunResult, console: bytes, complaint: str | None = None) -> Verdict:
        """Compare a run with this one.

        Args:
            result: how it ended.
            console: what the guest wrote to its console.
            complaint: what the user's own check has to say against it, or None.
        """
        text = _text(console)
        said = next((each for each in _complaints(text) if each not in self._complaints), "")
        if result.reason in _BAD_ENDS:
            return Verdict(Outcome.PANICKED, _short(result.detail or _end(result)))
        if result.reason in _NO_ENDS:
            return Verdict(Outcome.HUNG, _short(said or _end(result)))
        own = self.result
        if (result.reason, result.exit_code) != (own.reason, own.exit_code):
            return Verdict(Outcome.CORRUPTED, _short(_end(result)))
        if complaint is not None:
            return Verdict(Outcome.CORRUPTED, _short(complaint))
        missing = [each for each in self._expected if each not in text]
        lines = {_STAMP.sub("", line) for line in text.splitlines()}
        missing += [line for line in self._lines if line not in lines]
        if missing:
            return Verdict(Outcome.CORRUPTED, _short(f"the console lacks {missing[0]!r}"))
        return Verdict(Outcome.SURVIVED, _short(f"complained: {said}" if said else ""))


def _text(console: bytes) -> str:
    return console.decode("utf-8", "replace").replace("\r\n", "\n")


def _last_lines(text: str) -> tuple[str, ...]:
    lines = [line for line in text.splitlines() if line.strip()]
    stamped = [_STAMP.sub("", line) for line in lines[-1:]]
    return (*stamped, *[line for line in lines if not _STAMP.match(line)][-1:])


def _complaints(text: str) -> dict[str, None]:
    found = [_STAMP.sub("", line) for line in text.splitlines() if _COMPLAINT.search(line)]
    return dict.fromkeys(found)


def _end(result: RunResult) -> str:
    text = result.reason.name.lower().replace("_", " ")
    if result.exit_code is not None:
        text += f" with the value {result.exit_code}"
    return f"{text}: {result.detail}" if result.detail else text


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
