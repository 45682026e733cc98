"""What a rule is: the declaration from which lists, documents and findings take their words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    """How bad it is to break a rule."""

    ERROR = "error"
    """The guest is wrong: on some host, or some day, this fails."""
    WARNING = "warning"
    """The guest does what is hardly meant."""
    ADVICE = "advice"
    """The guest could do better."""


class Source(Enum):
    """What a rule must see."""

    EVENTS = "events"
    """The events of a run; so the rule applies to recorded traces too."""
    MACHINE = "machine"
    """The machine while it runs."""
    TRANSLATIONS = "translations"
    """The translations that processors keep, which only ``--check-stale`` looks at."""

    @property
    def text(self) -> str:
        """What it is, for people."""
        return {
            Source.EVENTS: "the events of a run, recorded traces too",
            Source.MACHINE: "the machine while it runs",
            Source.TRANSLATIONS: "the processors' translations, with --check-stale",
        }[self]


class Need(Enum):
    """What a rule must know beside which calls were made, of which a recorded trace may lack it.

    The value says it for people.
    """

    RESULTS = "the results of calls"
    INPUT = "the contents of parameters in memory and XMM registers"
    CONTROL_WORDS = "the reserved bits of control words"
    INTERFACE = "the writes of the MSRs that enable and disable the interface"
    MSRS = "the accesses to MSRs"
    PRIVILEGES = "the partition's privileges, for MSRs"
    RECOMMENDATIONS = "what CPUID recommends"
    DEVICE_WRITES = "the writes to device memory"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for guests.

    Attributes:
        name: by which users name it, for instance ``parameter-overlap``.
        severity: how bad it is to break it.
        source: what the rule must see.
        summary: one sentence that says what the guest did that broke it.
        why: why it matters.
        section: where the TLFS says so; "none" in words where it does not.
        needs: what it must know beside which calls were made.
    """

    name: str
    severity: Severity
    source: Source
    summary: str
    why: str
    section: str
    needs: tuple[Need, ...] = ()
