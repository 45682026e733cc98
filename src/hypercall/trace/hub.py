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
    """

    __slots__ = ("_callbacks", "active")

    def __init__(self) -> None:
        self.active: bool = False
        # A tuple per kind is never changed but replaced, so a callback may subscribe or
        # unsubscribe while an event is being handed out.
        self._callbacks: dict[type, tuple[Callable[[Event], None], ...]] = {}

    def subscribe(self, callback: Callable[[Event], None], *kinds: EventKind) -> Callable[[], None]:
        """Call ``callback`` with every event of the given kinds from now on.

        Args:
            callback: called on the thread that runs the machine. What it raises ends the run.
            kinds: the event classes wanted; none means all.

        Returns:
            A function that ends the subscription; calling it twice does no harm.
        """
        wanted = kinds or ALL_KINDS
        for kind in wanted:
            self._callbacks[kind] = (*self._callbacks.get(kind, ()), callback)
        self.active = True
        ended = False

        def unsubscribe() -> None:
            nonlocal ended
            if ended:
                return
            ended = True
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
        """Hand events to one function and nobody else for a while.

        For a part of a run that is done once more, of which everybody has heard already.

        Args:
            callback: who is to hear of it; it need not have subscribed.
            kinds: the event classes it wants.
        """
        kept = self._callbacks
        self._callbacks = dict.fromkeys(kinds, (callback,))
        self.active = bool(self._callbacks)
        try:
            yield
        finally:
            self._callbacks = kept
            self.active = bool(kept)

    def remember(self) -> Callable[[], None]:
        """Note who is subscribed; the function returned goes back to that."""
        callbacks = dict(self._callbacks)

        def go_back() -> None:
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
