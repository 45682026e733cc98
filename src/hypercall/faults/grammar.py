"""How users write faults: ``call=FlushVirtualAddressList,nth=3,status=INVALID_PARAMETER``.

A specification is a list with commas of ``key=value`` and single words. One part says the kind of
fault; which others there can be follows from that. The tables here are also what
``hypercall faults`` shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from hypercall.durations import parse_duration
from hypercall.errors import InputError
from hypercall.faults.fault import (
    BufferFault,
    BufferKind,
    CallFault,
    CpuidFault,
    Fault,
    InterruptFault,
    MessageFault,
    Occurrences,
    Site,
    TimerFault,
)
from hypercall.partition.synic import SINT_COUNT
from hypercall.partition.synthetic_timers import TIMER_COUNT
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.flags import FlagWord
from hypercall.tlfs.messages import MessageType
from hypercall.tlfs.privileges import Feature, NestedFeature, Privilege, Recommendation
from hypercall.tlfs.status import HvStatus

_LONGEST = 1000
_LONGEST_TIME_NS = 1_000_000_000_000
_MOST_REPS = 0xFFF
_LARGEST_BUFFER = 1 << 16
_SHARE = re.compile(r"(?:[0-9]{1,15}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE]-?[0-9]{1,3})?")
_SYMBOL = re.compile(
    r"([A-Za-z_.$][\w.$]*)(?:\+(0x[0-9a-fA-F]+|[0-9]+))?(?: \[([A-Za-z_][\w.-]*)\])?"
)
_DIGITS = 20

CPUID_WORDS: tuple[tuple[str, type[FlagWord], int], ...] = (
    ("privileges", Privilege, 0x4000_0003),
    ("features", Feature, 0x4000_0003),
    ("recommendations", Recommendation, 0x4000_0004),
    ("nested_features", NestedFeature, 0x4000_000A),
)
"""(attribute of the configuration, its bits, the CPUID leaf that shows them)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault as users write it.

    Attributes:
        key: the part that says it.
        value: what stands behind its equals sign; brackets mean that it can be left out.
        meaning: what such a fault does.
        keys: the other parts that it can have.
        example: a whole specification.
    """

    key: str
    value: str
    meaning: str
    keys: tuple[str, ...]
    example: str


_OCCURRENCES = ("nth", "every", "p", "times", "after")
_WHERE = ("vp", "vtl")

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        each.key: each
        for each in (
            Kind(
                "call",
                "[NAME|CODE]",
                "answers a hypercall otherwise, in part or late; without a name any call",
                ("site", *_WHERE, *_OCCURRENCES, "time", "reps", "status"),
                "call=FlushVirtualAddressList,nth=3,status=INVALID_PARAMETER",
            ),
            Kind(
                "interrupt",
                "[VECTOR]",
                "loses an interrupt on its way to a local APIC, or delays it",
                (*_WHERE, *_OCCURRENCES, "drop", "delay"),
                "interrupt=0xfb,vp=1,p=0.01,drop",
            ),
            Kind(
                "message",
                "[TYPE]",
                "loses a SynIC message on its way to its queue, or delays it",
                ("sint", *_WHERE, *_OCCURRENCES, "drop", "delay"),
                "message=TIMER_EXPIRED,nth=1,drop",
            ),
            Kind(
                "timer",
                "[0..3]",
                "lets a synthetic timer expire without telling, or tell late",
                (*_WHERE, *_OCCURRENCES, "drop", "delay"),
                "timer,nth=2,delay=5ms",
            ),
            Kind(
                "cpuid",
                "+BIT|-BIT",
                "shows (+) what the partition refuses, or hides (-) what it grants",
                (),
                "cpuid=-REMOTE_TLB_FLUSH",
            ),
            Kind(
                "buffer",
                "|".join(each.value for each in BufferKind),
                "lets buffers hold less, so that a guest meets INSUFFICIENT_BUFFERS",
                ("size",),
                "buffer=messages,size=1",
            ),
        )
    }
)
"""The kinds of faults."""

KEYS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "site": ("SYMBOL[+OFFSET]|ADDRESS", "only from there: the place that traces name"),
        "sint": ("0..15", "only of this synthetic interrupt source"),
        "vp": ("INDEX", "only of this virtual processor: its VP index"),
        "vtl": ("0..2", "only of this virtual trust level"),
        "nth": ("N", "only the n-th that fits, counted from 1"),
        "every": ("N", "every n-th that fits"),
        "p": ("SHARE", "each that fits with this probability, 0 to 1; the seed decides"),
        "times": ("N", "at most so many"),
        "after": ("TIME", "none before this virtual time, such as 1.5s; none of those counts"),
        "time": ("TIME", "so much virtual time passes first"),
        "reps": ("N", "a rep call completes only so many elements, fewer than it has"),
        "status": ("NAME|NUMBER", "the status returned; SUCCESS does nothing and says it did"),
        "drop": ("", "it never comes"),
        "delay": ("TIME", "it comes so much virtual time later, such as 20us or 5ms"),
        "size": ("N", "how much the buffer holds: messages, or bytes of the debug channel"),
    }
)
"""The other parts: (what stands behind the equals sign, what it means)."""


def parse_fault(text: str) -> Fault:
    """Turn what users write into a fault.

    Raises:
        InputError: it means nothing; the text says which part, and how to mend it.
    """
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    try:
        if len(text) > _LONGEST:
            raise InputError(f"it is longer than {_LONGEST} characters")
        return _make(*_split(text))
    except InputError as error:
        raise InputError(f"the fault {shown!r}: {error}") from None


def _split(text: str) -> tuple[Kind, str | None, dict[str, str | None]]:
    """Return the kind, its value and the other parts of a specification."""
    parts: dict[str, str | None] = {}
    for part in text.split(","):
        key, equals, value = part.strip().partition("=")
        key = key.strip()
        if not key:
            raise InputError("a part is empty: write key=value with commas between them")
        if key in parts:
            raise InputError(f"{key} is there twice: give it once")
        parts[key] = value.strip() if equals else None
    kinds = [key for key in parts if key in KINDS]
    if len(kinds) != 1:
        found = f"it is of {len(kinds)} kinds" if kinds else "it has no kind"
        raise InputError(f"{found}: give one of {_listed(KINDS)}, see `hypercall faults`")
    kind = KINDS[kinds[0]]
    own = parts.pop(kind.key)
    for key in parts:
        given = parts[key]
        if key not in kind.keys:
            near = get_close_matches(key, kind.keys, 1)
            hint = f"did you mean {near[0]}?" if near else _allowed(kind)
            raise InputError(f"{key!r} is no part of a fault of the kind {kind.key}: {hint}")
        form = KEYS[key][0]
        if form and not given:
            raise InputError(f"{key} needs a value: write {key}={form}")
        if not form and given is not None:
            raise InputError(f"{key} takes no value: write {key}")
    if own == "" or (own is None and not kind.value.startswith("[")):
        raise InputError(f"{kind.key} needs a value: write {kind.key}={kind.value.strip('[]')}")
    return kind, None if own == "*" else own, parts


def _allowed(kind: Kind) -> str:
    return f"give {_listed(kind.keys)}" if kind.keys else f"{kind.key} stands alone"


def _make(kind: Kind, value: str | None, parts: dict[str, str | None]) -> Fault:
    texts = {key: given or "" for key, given in parts.items()}
    if kind.key == "cpuid":
        return _cpuid_fault(value or "")
    if kind.key == "buffer":
        return _buffer_fault(value or "", texts)
    occurrences = Occurrences(
        nth=_number(texts, "nth"),
        every=_number(texts, "every"),
        share=_share(texts),
        times=_number(texts, "times"),
        after_ns=_duration(texts, "after") or 0,
    )
    vp, vtl = _number(texts, "vp"), _number(texts, "vtl")
    if kind.key == "call":
        return CallFault(
            code=None if value is None else DECLARATIONS.find(value).code,
            status=_status(texts),
            reps=_number(texts, "reps", _MOST_REPS),
            time_ns=_duration(texts, "time") or 0,
            site=_site(texts),
            vp=vp,
            vtl=vtl,
            occurrences=occurrences,
        )
    delay = _duration(texts, "delay")
    if ("drop" in texts) == (delay is not None):
        raise InputError("say what becomes of it: either drop or delay=TIME")
    if kind.key == "interrupt":
        vector = _value(kind, value, 0xFF)
        return InterruptFault(vector, delay, vp, vtl, occurrences)
    if kind.key == "timer":
        timer = _value(kind, value, TIMER_COUNT - 1)
        return TimerFault(timer, delay, vp, vtl, occurrences)
    sint = _number(texts, "sint", SINT_COUNT - 1)
    return MessageFault(_message_type(value), sint, delay, vp, vtl, occurrences)


def _integer(text: str, name: str, most: int) -> int:
    # int() takes any number of digits, and underscores.
    if len(text) <= _DIGITS and re.fullmatch(r"0[xX][0-9a-fA-F]+|[0-9]+", text):
        number = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
        if number <= most:
            return number
    raise InputError(f"{name}={text[:40]} is no number from 0 to {most}")


def _number(texts: Mapping[str, str], key: str, most: int = (1 << 63) - 1) -> int | None:
    return _integer(texts[key], key, most) if key in texts else None


def _value(kind: Kind, value: str | None, most: int) -> int | None:
    return None if value is None else _integer(value, kind.key, most)


def _share(texts: Mapping[str, str]) -> float | None:
    if "p" not in texts:
        return None
    if _SHARE.fullmatch(texts["p"]) is None:
        raise InputError(f"p={texts['p'][:40]} is no share: give a number from 0 to 1")
    return float(texts["p"])


def _duration(texts: Mapping[str, str], key: str) -> int | None:
    return parse_fault_time(texts[key], f"{key}=") if key in texts else None


def parse_fault_time(text: str, name: str) -> int:
    """Turn a time as users write it, ``20us`` or ``1.5s``, into nanoseconds.

    Args:
        text: what they write.
        name: what stands before it, for the message.

    Raises:
        InputError: it is none, nothing, or longer than 1000 s.
    """
    nanoseconds = parse_duration(text) or 0
    if not 0 < nanoseconds <= _LONGEST_TIME_NS:
        raise InputError(
            f"{name}{text[:40]} is no time: give a number above 0 with ns, us, ms or s, at"
            " most 1000s"
        )
    return nanoseconds


def _site(texts: Mapping[str, str]) -> Site | None:
    return parse_site(texts["site"]) if "site" in texts else None


def parse_site(text: str) -> Site:
    """Turn what a user writes into a place: ``symbol``, ``symbol+0x1a [module]`` or an address.

    Raises:
        InputError: it is none.
    """
    if text[:1].isdigit():
        return Site(address=_integer(text, "site", (1 << 64) - 1))
    match = _SYMBOL.fullmatch(text)
    if match is None:
        raise InputError(
            f"site={text[:60]} is no place: give a symbol, symbol+0x1a or an address such as 0x1000"
        )
    return Site(match[1], None if match[2] is None else int(match[2], 0), module=match[3])


def _status(texts: Mapping[str, str]) -> HvStatus | None:
    return parse_status(texts["status"]) if "status" in texts else None


def parse_status(text: str) -> HvStatus:
    """Turn a status by name, with or without HV_STATUS_, or by number into one.

    Raises:
        InputError: there is no such status.
    """
    if text[:1].isdigit():
        try:
            return HvStatus(_integer(text, "status", 0xFFFF))
        except ValueError:
            raise InputError(f"no status has the number {text}: give one by name") from None
    names = {_plain(name): name for name in HvStatus.__members__}
    found = names.get(_plain(text.upper().removeprefix("HV_STATUS_")))
    if found is None:
        near = get_close_matches(text.upper(), HvStatus.__members__, 1)
        hint = f"did you mean {near[0]}?" if near else "write it as the TLFS does"
        raise InputError(f"no status is named {text[:60]}: {hint}")
    return HvStatus[found]


def _message_type(value: str | None) -> int | None:
    if value is None or value[:1].isdigit():
        return None if value is None else _integer(value, "message", 0xFFFF_FFFF)
    for name, member in MessageType.__members__.items():
        if _plain(name) == _plain(value) and member is not MessageType.NONE:
            return int(member)
    near = get_close_matches(value.upper(), MessageType.__members__, 1)
    hint = f"did you mean {near[0]}?" if near else "give TIMER_EXPIRED or a number"
    raise InputError(f"no type of message is named {value[:60]}: {hint}")


def _cpuid_fault(value: str) -> CpuidFault:
    name = value[1:].strip()
    if value[:1] not in ("+", "-") or not name:
        raise InputError("write cpuid=+BIT to show what is refused, cpuid=-BIT to hide what is not")
    exact, near = [], []
    for word, kind, _ in CPUID_WORDS:
        for member_name, member in kind.__members__.items():
            if _plain(member_name) == _plain(name):
                exact.append((word, member))
            elif _plain(name) in _plain(member_name):
                near.append((word, member))
    found = exact or near
    if len(found) != 1:
        names = [str(member.name) for _, member in found[:4]]
        which = f"it could be {_listed(names)}" if names else "docs/privileges.md lists them"
        raise InputError(f"{name[:60]} is not the name of one CPUID bit: {which}")
    return CpuidFault(*found[0], shown=value[0] == "+")


def _buffer_fault(value: str, texts: Mapping[str, str]) -> BufferFault:
    by_name = {each.value: each for each in BufferKind}
    if value not in by_name:
        raise InputError(f"there are no buffers {value[:40]!r}: give {_listed(by_name)}")
    size = _number(texts, "size", _LARGEST_BUFFER)
    if size is None:
        raise InputError("say how much it holds: add size=N")
    return BufferFault(by_name[value], size)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _listed(names: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
