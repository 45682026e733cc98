"""The state of all objects that hang together, to be put back into the same objects."""

from collections import deque
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from hypercall.snapshot.object_state import attributes, has_state, is_frozen, referred

_PLAIN = frozenset({int, bool, float, str, bytes, type(None)})

Restore = Callable[[], object]


class Memento:
    """What a set of objects, and all that they refer to, was like at one moment.

    Going back changes the objects in place, so that everybody who refers to one still does.
    Objects outside of the machine (functions of the user, files) are left alone.

    Args:
        roots: where to begin.
    """

    def __init__(self, roots: Iterable[object]) -> None:
        self._restores: list[Restore] = []
        self._take(roots)

    def restore(self) -> None:
        """Put everything back."""
        for restore in self._restores:
            restore()

    def _take(self, roots: Iterable[object]) -> None:
        # An object is kept alive by what restores it, so that no other one can get its number.
        seen: dict[int, object] = {}
        waiting: list[Any] = list(roots)
        append = self._restores.append
        while waiting:
            thing = waiting.pop()
            kind: Any = type(thing)
            if kind in _PLAIN or id(thing) in seen:
                continue
            seen[id(thing)] = thing
            if kind is list or kind is deque or kind is set:
                content: list[Any] = list(thing)
                append(
                    _restore_set(thing, content) if kind is set else _restore_list(thing, content)
                )
                waiting += content
            elif kind is tuple or kind is frozenset:
                waiting += thing
            elif isinstance(thing, dict):
                # Counters too.
                append(_restore_dict(thing, dict(thing)))
                waiting += thing
                waiting += thing.values()
            elif kind is bytearray:
                assert isinstance(thing, bytearray)
                append(_restore_list(thing, bytes(thing)))
            elif kind is Random:
                assert isinstance(thing, Random)
                append(_restore_random(thing, thing.getstate()))
            elif has_state(kind):
                state = attributes(thing)
                if not is_frozen(kind):
                    append(_restore_attributes(thing, state))
                waiting += state.values()
            else:
                waiting += referred(thing)


def _restore_list(thing: Any, content: Any) -> Restore:
    if isinstance(thing, deque):

        def refill() -> None:
            thing.clear()
            thing.extend(content)

        return refill

    def replace() -> None:
        thing[:] = content

    return replace


def _restore_set(thing: Any, content: list[Any]) -> Restore:
    def refill() -> None:
        thing.clear()
        thing.update(content)

    return refill


def _restore_dict(thing: dict[Any, Any], content: dict[Any, Any]) -> Restore:
    def refill() -> None:
        thing.clear()
        thing.update(content)

    return refill


def _restore_random(thing: Random, state: Any) -> Restore:
    return lambda: thing.setstate(state)


def _restore_attributes(thing: object, state: dict[str, Any]) -> Restore:
    def put_back() -> None:
        for name in attributes(thing).keys() - state.keys():
            delattr(thing, name)
        for name, value in state.items():
            setattr(thing, name, value)

    return put_back
