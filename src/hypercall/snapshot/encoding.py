"""The state of a machine's objects as JSON, and back into a machine that was made alike.

A file may come from a stranger. So nothing of it is executed and nothing is imported for it: the
objects that it describes are those that a fresh machine has already, and others only of classes
and functions that belong to the state of a machine. What a function refers to by its closure, and
whatever leads to the host, is not in the file; there the fresh machine keeps its own.
"""

import base64
import binascii
import ctypes
import enum
import functools
import sys
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from random import Random
from types import FunctionType, MethodType
from typing import Any

from hypercall.errors import InputError
from hypercall.snapshot.object_state import (
    NOT_STATE,
    attributes,
    has_state,
    is_frozen,
    slots,
)

Json = Any
"""What the json module makes and takes."""

_MISSING = object()
_PLAIN = (bool, int, float, str, type(None))
_MOST_OBJECTS = 1_000_000
# Whose methods and functions may be called back, by a timer for instance.
_CALLED_BACK = (
    "hypercall.partition.",
    "hypercall.machine.devices.",
    "hypercall.machine.vmbus.",
    "hypercall.machine.processors.",
    "hypercall.faults.",
)
_HELD_BY_PYTHON = "hypercall.machine.host_port"
# What reaches the host: neither a class nor a function of these is taken from a file.
OF_THE_HOST = frozenset(
    {
        *("hypercall.faults.children", "hypercall.faults.sweep"),
        *("hypercall.machine.debug_transport", "hypercall.machine.listening", _HELD_BY_PYTHON),
    }
)
"""The modules whose objects have to do with processes, sockets or files of the host."""
_KNOWN = ("hypercall.partition.", "hypercall.machine.", "hypercall.tlfs.", "hypercall.faults.")


class Encoder:
    """Describes objects, each once.

    Args:
        buffers: memory that views may look into, by name.
    """

    def __init__(self, buffers: dict[str, memoryview]) -> None:
        self.nodes: list[Json] = []
        self._numbers: dict[int, int] = {}
        self._alive: list[object] = []
        self._waiting: list[tuple[int, Any]] = []
        self._buffers = {name: (_address(view), len(view)) for name, view in buffers.items()}

    def encode(self, root: object) -> Json:
        """Return what stands for a value; `nodes` has what it refers to.

        Raises:
            InputError: something that changes as a guest runs cannot be described.
        """
        described = self._value(root)
        while self._waiting:
            number, thing = self._waiting.pop()
            self.nodes[number] = self._node(thing)
        return described

    def _value(self, thing: Any) -> Json:
        kind: Any = type(thing)
        if kind in _PLAIN:
            return thing
        if isinstance(thing, enum.Enum):
            return {"e": [_name(kind), thing.value]}
        if kind is bytes:
            return {"b": _text(thing)}
        if kind is datetime:
            return {"time": thing.isoformat()}
        if isinstance(thing, tuple):
            described = [self._value(each) for each in thing]
            return {"t": described} if kind is tuple else {"n": [_name(kind), described]}
        if kind is frozenset:
            return {"f": [self._value(each) for each in _ordered(thing)]}
        if kind in (list, dict, set, deque, bytearray, Random) or has_state(kind):
            return {"r": self._number(thing)}
        if kind.__module__.startswith(_KNOWN) and is_frozen(kind):
            return {"r": self._number(thing)}
        if isinstance(thing, MethodType) and _may_be_called(thing.__func__):
            return {"m": [self._value(thing.__self__), thing.__name__]}
        if isinstance(thing, MethodType) and thing.__func__.__module__ == _HELD_BY_PYTHON:
            raise InputError(
                "a file cannot hold a port that Python code holds: close the port before you save"
            )
        if isinstance(thing, functools.partial):
            function = self._function(thing.func)
            if function is not None and not thing.keywords:
                return {"p": [function, [self._value(each) for each in thing.args]]}
        if isinstance(thing, memoryview):
            return self._view(thing)
        if callable(thing) and not f"{getattr(thing, '__module__', '')}.".startswith("hypercall."):
            name = getattr(thing, "__qualname__", repr(kind))
            raise InputError(
                f"a file cannot hold {name}, a function of yours that the machine's state refers "
                "to: take it away before you save"
            )
        # The fresh machine has its own.
        return {"k": 0}

    def _function(self, function: Any) -> Json:
        if isinstance(function, MethodType) and _may_be_called(function.__func__):
            return {"m": [self._value(function.__self__), function.__name__]}
        if function is bytes:
            return {"fn": "builtins:bytes"}
        if isinstance(function, FunctionType) and _may_be_called(function):
            return {"fn": f"{function.__module__}:{function.__qualname__}"}
        return None

    def _number(self, thing: object) -> int:
        number = self._numbers.get(id(thing))
        if number is None:
            number = self._numbers[id(thing)] = len(self.nodes)
            self._alive.append(thing)
            self.nodes.append(None)
            self._waiting.append((number, thing))
        return number

    def _node(self, thing: Any) -> Json:
        kind: Any = type(thing)
        if kind is list:
            return {"l": [self._value(each) for each in thing]}
        if kind is deque:
            return {"q": [self._value(each) for each in thing]}
        if kind is set:
            return {"s": [self._value(each) for each in _ordered(thing)]}
        if kind is dict:
            return {"d": [[self._value(key), self._value(value)] for key, value in thing.items()]}
        if kind is bytearray:
            return {"a": _text(thing)}
        if kind is Random:
            version, words, rest = thing.getstate()
            return {"random": [version, list(words), rest]}
        state = {name: self._value(value) for name, value in attributes(thing).items()}
        return {"c": _name(kind), "o": state}

    def _view(self, view: memoryview) -> Json:
        address, length = _address(view), view.nbytes
        for name, (start, size) in self._buffers.items():
            if start <= address and address + length <= start + size:
                return {"v": [name, address - start, length]}
        return {"k": 0}


class Decoder:
    """Puts what an `Encoder` described into a machine that was made alike.

    Args:
        nodes: those of the encoder.
        buffers: memory that views may look into, by name.

    Raises:
        InputError: the description is damaged, or of another version.
    """

    def __init__(self, nodes: list[Json], buffers: dict[str, memoryview]) -> None:
        if not isinstance(nodes, list) or len(nodes) > _MOST_OBJECTS:
            raise _damaged("its list of objects")
        self._nodes = nodes
        self._buffers = buffers
        self._made: dict[int, Any] = {}
        # What a fresh machine has in the place of the objects.
        self._counterparts: dict[int, Any] = {}
        self._waiting: list[tuple[Any, Json, Any]] = []
        self._where = "the machine"

    def decode(self, described: Json, fresh: Any = _MISSING) -> Any:
        """Return the value that a description stands for.

        Args:
            described: what `Encoder.encode` returned.
            fresh: what a machine just made has in its place; it is changed, and kept.
        """
        try:
            # Who calls whom back changes as a guest runs: by that nothing is found that can be
            # found otherwise.
            for through_methods in (False, True):
                self._pair(described, fresh, through_methods)
            value = self._value(described, fresh)
            while self._waiting:
                self._fill(*self._waiting.pop())
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise _damaged(f"an object ({type(error).__name__})") from None
        return value

    def _value(self, described: Json, fresh: Any) -> Any:
        if isinstance(described, _PLAIN):
            return described
        ((sort, content),) = described.items()
        match sort:
            case "r":
                return self._object(content)
            case "k":
                if fresh is _MISSING:
                    raise _damaged(f"what {self._where} refers to")
                return fresh
            case "t":
                return tuple(self._items(content, fresh))
            case "b":
                return _bytes(content)
            case "e":
                kind = _class(content[0])
                if not issubclass(kind, enum.Enum):
                    raise _damaged("a name")
                return kind(content[1])
            case "n":
                kind = _class(content[0])
                if not issubclass(kind, tuple) or not hasattr(kind, "_make"):
                    raise _damaged("a record")
                return kind._make(self._items(content[1], fresh))
            case "f":
                return frozenset(self._value(each, _MISSING) for each in content)
            case "time":
                return datetime.fromisoformat(content)
            case "m" | "fn":
                return self._callable(described)
            case "p":
                function, arguments = content
                values = [self._value(each, _MISSING) for each in arguments]
                return functools.partial(self._callable(function), *values)
            case "v":
                name, offset, length = content
                buffer = self._buffers[name]
                if not (0 <= offset <= offset + length <= len(buffer)):
                    raise _damaged("a view of memory")
                return buffer[offset : offset + length]
        raise _damaged("an object of an unknown sort")

    def _items(self, content: list[Json], fresh: Any) -> list[Any]:
        counterparts = fresh if isinstance(fresh, tuple | list | deque) else ()
        return [
            self._value(each, counterparts[index] if index < len(counterparts) else _MISSING)
            for index, each in enumerate(content)
        ]

    def _callable(self, described: Json) -> Callable[..., Any]:
        if "fn" in described:
            if described["fn"] == "builtins:bytes":
                return bytes
            module, _, name = described["fn"].partition(":")
            function = getattr(sys.modules.get(module), name, None)
        else:
            owner = self._value(described["m"][0], _MISSING)
            method = getattr(owner, described["m"][1])
            function = getattr(method, "__func__", None)
            if isinstance(function, FunctionType) and _may_be_called(function):
                return method  # type: ignore[no-any-return]
        if not isinstance(function, FunctionType) or not _may_be_called(function):
            raise _damaged("something to call")
        return function

    def _pair(self, described: Json, fresh: Any, through_methods: bool) -> None:
        """Find the counterparts of the objects that lie at the same places as in a fresh machine.

        Those with the fewest steps from the root count, for they are the least likely to change.
        """
        claimed = {id(counterpart) for counterpart in self._counterparts.values()}
        seen: set[int] = set()
        waiting = deque([(described, fresh)])
        while waiting:
            described, fresh = waiting.popleft()
            if fresh is _MISSING or not isinstance(described, dict):
                continue
            ((sort, content),) = described.items()
            if sort in ("t", "n") and isinstance(fresh, tuple):
                waiting.extend(zip(content if sort == "t" else content[1], fresh, strict=False))
            elif sort == "m" and through_methods and isinstance(fresh, MethodType):
                waiting.append((content[0], fresh.__self__))
            elif sort == "r" and content not in seen:
                node = self._nodes[content]
                kind: Any = _kind_of_node(node)
                if content not in self._counterparts:
                    if type(fresh) is not kind or id(fresh) in claimed:
                        continue
                    self._counterparts[content] = fresh
                    claimed.add(id(fresh))
                if self._counterparts[content] is fresh:
                    seen.add(content)
                    waiting.extend(_places(node, fresh))

    def _object(self, number: int) -> Any:
        if number in self._made:
            return self._made[number]
        node = self._nodes[number]
        kind: Any = _kind_of_node(node)
        fresh = self._counterparts.get(number, _MISSING)
        if fresh is not _MISSING and not is_frozen(kind):
            made = fresh
        elif "c" in node:
            made = kind.__new__(kind)
        else:
            made = kind()
        self._made[number] = made
        self._waiting.append((made, node, fresh))
        return made

    def _fill(self, made: Any, node: Json, fresh: Any) -> None:
        if "c" in node:
            kind: Any = type(made)
            known = None if hasattr(made, "__dict__") else set(slots(kind))
            others = getattr(kind, NOT_STATE, ())
            for name, value in node["o"].items():
                unknown = known is not None and name not in known
                if unknown or name.startswith("__") or name in others:
                    raise _damaged(f"an attribute ({name[:40]})")
                self._where = f"{kind.__name__}.{name}"
                own = _MISSING if fresh is _MISSING else getattr(fresh, name, _MISSING)
                object.__setattr__(made, name, self._value(value, own))
        elif "l" in node:
            made[:] = self._items(node["l"], fresh)
        elif "q" in node:
            content = self._items(node["q"], fresh)
            made.clear()
            made.extend(content)
        elif "s" in node:
            content = [self._value(each, _MISSING) for each in node["s"]]
            made.clear()
            made.update(content)
        elif "d" in node:
            own = fresh if isinstance(fresh, dict) else {}
            entries = {}
            for name, value in node["d"]:
                key = self._value(name, _MISSING)
                entries[key] = self._value(value, own.get(key, _MISSING))
            made.clear()
            made.update(entries)
        elif "a" in node:
            made[:] = _bytes(node["a"])
        else:
            version, words, rest = node["random"]
            made.setstate((version, tuple(words), rest))


def _places(node: Json, fresh: Any) -> Iterable[tuple[Json, Any]]:
    """Return what an object refers to, each with what its counterpart has there."""
    if "c" in node:
        for name, value in node["o"].items():
            # A queue of deadlines has something else at each place after a while.
            if name != "_heap":
                yield value, getattr(fresh, name, _MISSING)
    elif "l" in node:
        yield from zip(node["l"], fresh, strict=False)
    elif "d" in node:
        for key, value in node["d"]:
            if isinstance(key, _PLAIN):
                yield value, fresh.get(key, _MISSING)
            elif isinstance(key, dict) and "e" in key:
                yield value, fresh.get(_class(key["e"][0])(key["e"][1]), _MISSING)


def _kind_of_node(node: Json) -> Any:
    for sort, kind in _CONTAINERS.items():
        if sort in node:
            return kind
    found = _class(node["c"])
    if not has_state(found) and not is_frozen(found):
        raise _damaged("an object")
    return found


_CONTAINERS: dict[str, type] = {
    "l": list,
    "q": deque,
    "s": set,
    "d": dict,
    "a": bytearray,
    "random": Random,
}


def _class(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    known = f"{module}.".startswith((*_KNOWN, "hypercall.cpu.", "hypercall.trace.symbols."))
    if not known or module in OF_THE_HOST or not isinstance(found, type):
        raise _damaged(f"the name of a class ({name[:80]})")
    return found


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _may_be_called(function: object) -> bool:
    return (
        isinstance(function, FunctionType)
        and f"{function.__module__}.".startswith(_CALLED_BACK)
        and function.__module__ not in OF_THE_HOST
        and "<" not in function.__qualname__
    )


def _ordered(things: Iterable[Any]) -> list[Any]:
    """Return the members of a set in an order that does not depend on where they lie."""
    return sorted(things, key=lambda thing: getattr(thing, "index", thing))


def _address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) if view.nbytes else 0


def _text(data: bytes | bytearray) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise _damaged("bytes") from None


def _damaged(what: str) -> InputError:
    return InputError(
        f"the snapshot is damaged, or of another version of hypercall: {what} cannot be read"
    )
