"""The hub: a machine emits into it, writers and counters subscribe to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

from hypercall.trace.events import Event

EventKind = type[Event]
"""One of the event classes."""

ALL_KINDS: tuple[EventKind, ...] = get_args(Event)
"""Every event class, in the order in which :mod:`hypercall.trace.events` describes them."""


class TraceHub:
    """Hands every event to those who asked for its kind, in the order in which they asked.

    Attributes:
        active: whether anybody subscribed to anything; a plain attribute, so that the machine can
            test it on every exit at no cost.
        repeating: whether a part of a run is done once more, of which everybody has heard.
    """

    __slots__ = ("_callbacks", "_following", "active", "repeating")

    def __init__(self) -> None:
        self.active: bool = False
        self.repeating = False
        # A tuple per kind is never changed but replaced, so a callback may subscribe or
        # unsubscribe while an event is being handed out.
        self._callbacks: dict[type, tuple[Callable[[Event], None], ...]] = {}
        self._following: list[Callable[[Event], None]] = []

    def subscribe(
        self, callback: Callable[[Event], None], *kinds: EventKind, follows: bool = False
    ) -> Callable[[], None]:
        """Call ``callback`` with every event of the given kinds from now on.

        Args:
            callback: called on the thread that runs the machine. What it raises ends the run.
            kinds: the event classes wanted; none means all.
            follows: whether what it remembers goes back with the machine, so that it must hear of
                a part of a run that is done once more, too.

        Returns:
            A function that ends the subscription; calling it twice does no harm.
        """
        wanted = kinds or ALL_KINDS
        for kind in wanted:
            self._callbacks[kind] = (*self._callbacks.get(kind, ()), callback)
        if follows:
            self._following.append(callback)
        self.active = True
        ended = False

        def unsubscribe() -> None:
            nonlocal ended
            if ended:
                return
            ended = True
            if follows and callback in self._following:
                self._following.remove(callback)
            for kind in wanted:
                rest = list(self._callbacks.get(kind, ()))
                if callback in rest:
                    rest.remove(callback)
                if rest:
                    self._callbacks[kind] = tuple(rest)
                else:
                    self._callbacks.pop(kind, None)
            self.active = bool(self._callbacks)

        return unsubscribe

    @contextmanager
    def only(self, callback: Callable[[Event], None], *kinds: EventKind) -> Iterator[None]:
        """Hand events to one function, and to who follows the machine, for a while.

        For a part of a run that is done once more, of which everybody has heard already.

        Args:
            callback: who is to hear of it; it need not have subscribed.
            kinds: the event classes it wants.
        """
        kept = self._callbacks
        following = {
            kind: tuple(each for each in callbacks if each in self._following)
            for kind, callbacks in kept.items()
        }
        self._callbacks = {kind: each for kind, each in following.items() if each}
        for kind in kinds:
            self._callbacks[kind] = (callback, *following.get(kind, ()))
        self.active = bool(self._callbacks)
        self.repeating = True
        try:
            yield
        finally:
            self._callbacks = kept
            self.active = bool(kept)
            self.repeating = False

    def remember(self) -> Callable[[], None]:
        """Note who is subscribed; the function returned goes back to that."""
        callbacks, following = dict(self._callbacks), list(self._following)

        def go_back() -> None:
            self._following[:] = following
            self._callbacks.clear()
            self._callbacks.update(callbacks)
            self.active = bool(callbacks)

        return go_back

    def wants(self, kind: EventKind) -> bool:
        """Tell whether an event of this class would reach anybody; if not, do not build it."""
        return kind in self._callbacks

    def emit(self, event: Event) -> None:
        """Hand an event to all who asked for its kind."""
        for callback in self._callbacks.get(type(event), ()):
            callback(event)
