"""Every enlightenment, where CPUID offers it, and by what it shows that a guest uses it.

All of it is derived from what is declared of calls and MSRs; what remains is told by a mark, which
:mod:`hypercall.coverage.marks` sees in calls and accesses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from hypercall.coverage.marks import Mark
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.calls import Call as CallCode
from hypercall.tlfs.cpuid import FEATURES_LEAF, NESTED_FEATURES_LEAF, RECOMMENDATIONS_LEAF
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.msrs import MSR_DECLARATIONS, SyntheticMsr
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    Feature,
    NestedFeature,
    Privilege,
    Recommendation,
)


class Word(Enum):
    """The words that offer enlightenments; the value is what people call one bit of it."""

    PRIVILEGES = "privilege"
    FEATURES = "feature"
    RECOMMENDATIONS = "recommendation"
    NESTED_FEATURES = "nested feature"
    EXTENDED_CAPABILITIES = "extended capability"


@dataclass(frozen=True, slots=True)
class Enlightenment:
    """One bit that a guest can be offered.

    Attributes:
        word: the word that has the bit.
        name: the bit's name.
        bit: its value in the word.
        leaf: the CPUID leaf where a guest reads it; None for extended capabilities, which
            HvExtCallQueryCapabilities tells.
        calls: the codes of the calls that it announces or allows.
        msrs: the MSRs that it announces or allows.
        marks: other signs of its use.
    """

    word: Word
    name: str
    bit: int
    leaf: int | None
    calls: tuple[int, ...]
    msrs: tuple[int, ...]
    marks: tuple[Mark, ...]

    @property
    def visible(self) -> bool:
        """Whether the use of it shows at all in calls and accesses."""
        return bool(self.calls or self.msrs or self.marks)


_Key = tuple[type[FlagWord], int]


def _key(bit: FlagWord) -> _Key:
    # Bits of different words are equal as numbers.
    return type(bit), int(bit)


_APIC_MSRS = (SyntheticMsr.EOI, SyntheticMsr.ICR, SyntheticMsr.TPR)

_MARKS: Mapping[_Key, tuple[Mark, ...]] = MappingProxyType(
    {
        _key(Privilege.FAST_HYPERCALL_OUTPUT): (Mark.XMM_OUTPUT,),
        _key(Privilege.ENABLE_EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST): (
            Mark.EXTENDED_RANGES,
        ),
        _key(Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT): (Mark.XMM_INPUT,),
        _key(Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_OUTPUT): (Mark.XMM_OUTPUT,),
        _key(Feature.EXTENDED_GVA_RANGES_FOR_FLUSH_VIRTUAL_ADDRESS_LIST): (Mark.EXTENDED_RANGES,),
        _key(Feature.SINT_POLLING_MODE): (Mark.POLLED_SINT,),
        _key(Feature.HYPERCALL_MSR_LOCK): (Mark.LOCKED_HYPERCALL_MSR,),
        _key(Feature.DIRECT_SYNTHETIC_TIMERS): (Mark.DIRECT_TIMER,),
        _key(Feature.CROSS_VTL_FLUSH): (Mark.FLUSH_OF_ANOTHER_VTL,),
        _key(Recommendation.X2APIC_MSRS): (Mark.X2APIC_MSR,),
        _key(Recommendation.DEPRECATE_AUTO_EOI): (Mark.SINT_WITHOUT_AUTO_EOI,),
    }
)
_MORE_MSRS: Mapping[_Key, tuple[int, ...]] = MappingProxyType(
    {
        _key(Feature.GUEST_IDLE_STATE): (SyntheticMsr.GUEST_IDLE,),
        _key(Recommendation.MSRS_FOR_APIC_ACCESS): _APIC_MSRS,
        _key(Recommendation.MSR_FOR_RESET): (SyntheticMsr.RESET,),
    }
)
_MORE_CALLS: Mapping[_Key, tuple[int, ...]] = MappingProxyType(
    {
        _key(Feature.GUEST_DEBUGGING): (
            CallCode.POST_DEBUG_DATA,
            CallCode.RETRIEVE_DEBUG_DATA,
            CallCode.RESET_DEBUG_SESSION,
        ),
    }
)
_WORDS: tuple[tuple[Word, type[FlagWord], int | None], ...] = (
    (Word.PRIVILEGES, Privilege, FEATURES_LEAF),
    (Word.FEATURES, Feature, FEATURES_LEAF),
    (Word.RECOMMENDATIONS, Recommendation, RECOMMENDATIONS_LEAF),
    (Word.NESTED_FEATURES, NestedFeature, NESTED_FEATURES_LEAF),
    (Word.EXTENDED_CAPABILITIES, ExtendedCapability, None),
)


def _calls_of(bit: FlagWord) -> Iterator[int]:
    for declaration in DECLARATIONS:
        for word in (
            declaration.privilege,
            declaration.recommendation,
            declaration.nested_feature,
            declaration.capability,
        ):
            if type(word) is type(bit) and word & bit:
                yield declaration.code
    yield from _MORE_CALLS.get(_key(bit), ())


def _msrs_of(bit: FlagWord) -> Iterator[int]:
    for index, declaration in MSR_DECLARATIONS.items():
        for word in (declaration.privilege, declaration.feature):
            if type(word) is type(bit) and word & bit:
                yield index
    yield from _MORE_MSRS.get(_key(bit), ())


def _enlightenments() -> Iterator[Enlightenment]:
    for word, kind, leaf in _WORDS:
        for name, bit in kind.__members__.items():
            yield Enlightenment(
                word,
                name,
                int(bit),
                leaf,
                tuple(_calls_of(bit)),
                tuple(_msrs_of(bit)),
                _MARKS.get(_key(bit), ()),
            )


ENLIGHTENMENTS = tuple(_enlightenments())
"""Every bit of every word, in the order of the words and the bits."""
