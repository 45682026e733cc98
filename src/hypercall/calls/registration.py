"""How a handler says which call it serves."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType, ModuleType
from typing import TypeVar

from hypercall.abi.reply import Handler
from hypercall.tlfs.calls import Call

_HandlerT = TypeVar("_HandlerT", bound=Handler)
_MARK = "_hypercall_served"


def serves(call: Call) -> Callable[[_HandlerT], _HandlerT]:
    """Mark the decorated function as the handler of a call."""

    def mark(handler: _HandlerT) -> _HandlerT:
        setattr(handler, _MARK, call)
        return handler

    return mark


def handlers_of(modules: Iterable[ModuleType]) -> Mapping[int, Handler]:
    """Return the handlers that modules define, by call code.

    Raises:
        ValueError: two of them serve the same call.
    """
    handlers: dict[int, Handler] = {}
    for module in modules:
        for handler in vars(module).values():
            call = getattr(handler, _MARK, None)
            if call is None:
                continue
            if call in handlers:
                raise ValueError(f"two handlers serve {call.name}")
            handlers[int(call)] = handler
    return MappingProxyType(handlers)
