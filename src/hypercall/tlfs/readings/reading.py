"""What a reading is: a question on which the sources disagree, with the answer of each set."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from hypercall.tlfs.status import HvStatus

SET_NAMES = ("hyperv", "kvm", "xen", "openvmm")


@dataclass(frozen=True, slots=True)
class Reading:
    """One decision.

    Attributes:
        name: attribute of `ReadingSet`.
        question: what the sources disagree about.
        variants: the answer of each set.
        sources: who says so.
        none: what an answer of None means.
    """

    name: str
    question: str
    variants: Mapping[str, Any]
    sources: str
    none: str = "not refused"

    def answer(self, name: str) -> str:
        """Return the answer of a set in words, for example ``INVALID_PARAMETER (5)``."""
        value = self.variants[name]
        if value is None:
            return self.none
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, HvStatus):
            return f"{value.name} ({int(value)})"
        if isinstance(value, Enum):
            return str(value.value)
        return f"{value:#x}" if value >= 0 else str(value)


def reading(
    name: str,
    question: str,
    sources: str,
    *,
    hyperv: object,
    kvm: object,
    xen: object,
    openvmm: object,
    none: str = "not refused",
) -> Reading:
    """Declare a decision.

    Args:
        name: attribute of the `ReadingSet`.
        question: what the sources disagree about.
        sources: who says so.
        hyperv: the answer of the set of this name; so are those that follow.
        kvm: the same.
        xen: the same.
        openvmm: the same.
        none: what an answer of None means.
    """
    variants = {"hyperv": hyperv, "kvm": kvm, "xen": xen, "openvmm": openvmm}
    return Reading(name, question, MappingProxyType(variants), sources, none)
