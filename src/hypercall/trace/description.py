"""What is known of a run as a whole: who recorded it, what ran, and what the guest was offered."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

_HEXADECIMAL = frozenset(
    {"privileges", "features", "recommendations", "nested_features", "extended_capabilities"}
)


@dataclass(frozen=True, slots=True)
class RunDescription:
    """What is known of a run; None stands for what is not known.

    Attributes:
        source: who recorded it, for instance ``"hypercall"`` or ``"kvm"``.
        image: the name of the guest's image.
        append: the kernel's command line.
        cpus: the number of virtual processors.
        memory: guest memory in bytes.
        seed: what varied the turns.
        like: the name of the reading set.
        privileges: CPUID 0x40000003.EBX:EAX.
        features: CPUID 0x40000003.EDX.
        recommendations: CPUID 0x40000004.EAX.
        nested_features: CPUID 0x4000000A.EAX; None also where there is no such leaf.
        extended_capabilities: what HvExtCallQueryCapabilities reports.
        checks: by what the guest was checked as it ran, where the events tell of it: ``"off"``,
            ``"on"``, or ``"stale"`` for its translations too.
    """

    source: str | None = None
    image: str | None = None
    append: str | None = None
    cpus: int | None = None
    memory: int | None = None
    seed: int | None = None
    like: str | None = None
    privileges: int | None = None
    features: int | None = None
    recommendations: int | None = None
    nested_features: int | None = None
    extended_capabilities: int | None = None
    checks: str | None = None

    def as_dictionary(self) -> dict[str, str | int]:
        """Return what is known, as JSON has it: words of 64 bits as hexadecimal strings."""
        known: dict[str, str | int] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                known[item.name] = f"{value:#x}" if item.name in _HEXADECIMAL else value
        return known

    @classmethod
    def from_dictionary(cls, known: dict[str, Any]) -> RunDescription:
        """Make a description from what JSON had; keys without a meaning are left out.

        Raises:
            ValueError: a value is of the wrong kind, or out of range.
        """
        values: dict[str, Any] = {}
        for item in fields(cls):
            value = known.get(item.name)
            if value is None:
                continue
            if item.name in _HEXADECIMAL:
                value = int(value, 16) if isinstance(value, str) else -1
            textual = item.name in ("source", "image", "append", "like", "checks")
            good = (
                isinstance(value, str) if textual else type(value) is int and 0 <= value < 1 << 64
            )
            if not good:
                raise ValueError(f"{item.name!r} has no sensible value")
            values[item.name] = value
        return cls(**values)
