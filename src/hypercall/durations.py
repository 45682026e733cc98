"""Durations and times as users write them: ``1.5s``, ``20ms``, ``300us``, ``7ns``."""

import re

_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)(ns|us|ms|s)")


def parse_duration(text: str) -> int | None:
    """Return the nanoseconds that a text like ``1.5ms`` means, or None if it means none."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    whole, _, fraction = match[1].partition(".")
    unit = _UNITS[match[2]]
    # Not by a float, which has too few digits for long times.
    return int(whole) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)


def duration_text(nanoseconds: int) -> str:
    """Write a duration in the largest unit that gives a whole number: ``5ms``."""
    for unit, size in _UNITS.items():
        if nanoseconds % size == 0 and nanoseconds >= size:
            return f"{nanoseconds // size}{unit}"
    return "0ns"
