"""The state of an object, as it lies in its attributes, and which objects have any."""

import enum
import functools
from collections.abc import Iterator
from types import FunctionType, MethodType
from typing import Any

from hypercall.abi.dispatcher import Dispatcher
from hypercall.machine.exits import MachineExits
from hypercall.partition.msrs import MsrFile
from hypercall.partition.registers import RegisterFile
from hypercall.trace.statistics import CallCount, Statistics
from hypercall.trace.symbols import LazySymbols

NOT_STATE = "not_state"
"""A class attribute with the names of the attributes that belong to whoever uses the object.

Who listens to a machine, for instance, is no part of the machine's state.
"""

_STATEFUL = (
    "hypercall.partition.",
    "hypercall.machine.",
    "hypercall.cpu.",
    "hypercall.faults.",
    "hypercall.checks.",
)
# What they hold is fixed when the machine is made.
_WIRING: tuple[type, ...] = (Dispatcher, MachineExits, MsrFile, RegisterFile)
# What has state beside what runs a guest.
_ELSEWHERE: tuple[type, ...] = (LazySymbols, Statistics, CallCount)


@functools.cache
def has_state(kind: type) -> bool:
    """Whether objects of a class can change while a guest runs."""
    with_attributes = bool(slots(kind)) or "__dict__" in _members(kind)
    if kind in _ELSEWHERE:
        return True
    if issubclass(kind, enum.Enum) or kind in _WIRING:
        return False
    return (
        f"{kind.__module__}.".startswith(_STATEFUL)
        and not issubclass(kind, BaseException | tuple | type)
        and with_attributes
    )


@functools.cache
def is_frozen(kind: type) -> bool:
    """Whether objects of a class never change, though they may refer to objects that do."""
    parameters = getattr(kind, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def attributes(thing: object) -> dict[str, Any]:
    """Return the attributes of an object that are its state, by name."""
    # mypy takes a class of unknown base for one that cannot be hashed.
    kind: Any = type(thing)
    found: dict[str, Any] = {}
    for name in slots(kind):
        try:
            found[name] = getattr(thing, name)
        except AttributeError:
            continue
    found.update(getattr(thing, "__dict__", {}))
    for name in getattr(kind, NOT_STATE, ()):
        found.pop(name, None)
    return found


def referred(thing: object) -> Iterator[object]:
    """Return what a function, method or partial application refers to."""
    if isinstance(thing, MethodType):
        yield thing.__self__
        yield thing.__func__
    elif isinstance(thing, functools.partial):
        yield thing.func
        yield from thing.args
        yield from thing.keywords.values()
    elif isinstance(thing, FunctionType):
        for cell in thing.__closure__ or ():
            yield cell.cell_contents


@functools.cache
def slots(kind: type) -> tuple[str, ...]:
    """Return the names of the slots that a class and its bases declare."""
    names: list[str] = []
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__weakref__", "__dict__"):
                mangled = name.startswith("__") and not name.endswith("__")
                names.append(f"_{base.__name__.lstrip('_')}{name}" if mangled else name)
    return tuple(names)


@functools.cache
def _members(kind: type) -> frozenset[str]:
    return frozenset(name for base in kind.__mro__ for name in base.__dict__)
