"""The kinds of events by the names that files and users give them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hypercall.errors import InputError
from hypercall.trace.events import (
    ConsoleEvent,
    CpuidEvent,
    FindingEvent,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MessageEvent,
    MsrEvent,
    VtlEvent,
)
from hypercall.trace.hub import ALL_KINDS, EventKind

DEFAULT_KINDS: tuple[EventKind, ...] = (
    HypercallEvent,
    VtlEvent,
    MachineEvent,
    FindingEvent,
)
"""What a trace shows unless told otherwise: the calls, and what explains them."""

EVENT_NAMES: Mapping[EventKind, str] = MappingProxyType(
    {
        HypercallEvent: "hypercall",
        MsrEvent: "msr",
        CpuidEvent: "cpuid",
        ConsoleEvent: "console",
        InterruptEvent: "interrupt",
        MessageEvent: "message",
        HaltEvent: "halt",
        VtlEvent: "vtl",
        MachineEvent: "machine",
        FindingEvent: "finding",
    }
)
"""What stands for ``event`` in a line of each kind."""


def parse_kinds(text: str) -> tuple[EventKind, ...]:
    """Turn what users write into kinds of events.

    Args:
        text: ``calls`` for :data:`DEFAULT_KINDS`, ``all``, or names of :data:`EVENT_NAMES` with
            commas between.

    Raises:
        InputError: there is no such kind.
    """
    if text == "calls":
        return DEFAULT_KINDS
    if text == "all":
        return ALL_KINDS
    by_name = {name: kind for kind, name in EVENT_NAMES.items()}
    kinds: list[EventKind] = []
    for name in text.split(","):
        kind = by_name.get(name.strip())
        if kind is None:
            raise InputError(
                f"there is no kind {name.strip()[:40]!r} of events: give calls, all, or some of"
                f" {', '.join(by_name)}"
            )
        kinds.append(kind)
    return tuple(dict.fromkeys(kinds))
