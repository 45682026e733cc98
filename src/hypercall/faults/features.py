"""Lies of CPUID: bits that are shown though refused, or hidden though granted."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from hypercall.errors import InputError
from hypercall.faults.armed import ArmedFault
from hypercall.faults.fault import CpuidFault
from hypercall.faults.grammar import CPUID_WORDS
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.privileges import Recommendation

_KINDS: dict[str, type[FlagWord]] = {word: kind for word, kind, _ in CPUID_WORDS}
_LEAVES = {word: leaf for word, _, leaf in CPUID_WORDS}
_Leaf = tuple[int, int, int, int]


def with_bit(
    configuration: PartitionConfiguration, word: str, bit: FlagWord, value: bool
) -> PartitionConfiguration:
    """Return a configuration with one bit of one word set or clear."""
    old = getattr(configuration, word)
    if old is None and not value:
        return configuration
    number = int(old or 0)
    number = number | int(bit) if value else number & ~int(bit)
    return configuration.replace(**{word: _KINDS[word](number)})


def refused_calls(fault: CpuidFault) -> list[int]:
    """The codes of the calls that a recommendation stands for and that are to be refused."""
    if not fault.shown or fault.word != "recommendations":
        return []
    bit = int(fault.bit)
    return [each.code for each in DECLARATIONS if int(each.recommendation) & bit]


def check_lie(fault: CpuidFault, configuration: PartitionConfiguration) -> None:
    """Find out whether a lie differs from the truth.

    Raises:
        InputError: it does not.
    """
    name = fault.bit.name
    granted = bool(int(getattr(configuration, fault.word) or 0) & int(fault.bit))
    if not fault.shown and not granted:
        raise InputError(
            f"the fault '{fault}': the partition has no {name} to hide; leave it out, or grant it"
            " with --privileges"
        )
    recommended = isinstance(fault.bit, Recommendation)
    if fault.shown and granted and recommended and not refused_calls(fault):
        raise InputError(
            f"the fault '{fault}': no call depends on {name}, so nothing would be refused; leave it"
            " out"
        )


def possible_lies(
    configuration: PartitionConfiguration, leaves: Collection[int]
) -> list[CpuidFault]:
    """Return all lies that differ from the truth: what is granted hidden, and all else refused.

    Args:
        configuration: the truth.
        leaves: only those that show in these leaves of CPUID.
    """
    lies = []
    for word, kind, leaf in CPUID_WORDS:
        if leaf not in leaves:
            continue
        for bit in kind:
            for shown in (False, True):
                lie = CpuidFault(word, bit, shown)
                with contextlib.suppress(InputError):
                    check_lie(lie, configuration)
                    lies.append(lie)
    return lies


class Lies:
    """What CPUID shows instead of the truth, and what is true.

    Args:
        truth: the configuration without lies.
        lies: the faults, each with what is armed.

    Attributes:
        shown: the configuration that CPUID shows.
        granted: the one that the partition has.
    """

    def __init__(
        self, truth: PartitionConfiguration, lies: list[tuple[CpuidFault, ArmedFault]]
    ) -> None:
        self.shown = self.granted = truth
        self._by_leaf: dict[int, list[ArmedFault]] = {}
        for fault, armed in lies:
            self.shown = with_bit(self.shown, fault.word, fault.bit, fault.shown)
            if fault.shown:
                self.granted = with_bit(self.granted, fault.word, fault.bit, False)
            self._by_leaf.setdefault(_LEAVES[fault.word], []).append(armed)

    def told(self, leaf: int) -> None:
        """The guest has read a leaf."""
        for armed in self._by_leaf.get(leaf, ()):
            armed.strike(f"CPUID {leaf:#x} lied")
