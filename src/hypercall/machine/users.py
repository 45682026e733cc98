"""Who watches and serves a machine: noted, and brought back."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypercall.abi.reply import Handler
from hypercall.machine.observation import CallObserver

if TYPE_CHECKING:
    from hypercall.machine.guest_machine import GuestMachine


def remember_users(
    machine: "GuestMachine",
    observers: dict[int, list[CallObserver]],
    handlers: dict[int, Handler],
) -> Callable[[], None]:
    """Note who watches and serves a machine; the function returned goes back to that.

    Args:
        machine: the machine.
        observers: who observes one call alone, by its code; changed in place.
        handlers: what serves each call, by its code; changed in place.
    """
    subscribers = machine.trace.remember()
    observed = {code: list(each) for code, each in observers.items()}
    served, outputs = dict(handlers), list(machine.console.output)
    poll, holders, debugging = machine.host_poll, list(machine.state_holders), machine.debugging
    breakpoints, watchpoints = debugging.breakpoints, debugging.watchpoints
    between, source, waited = machine.between_turns, machine.input_source, machine.on_host_wait
    on_input, on_exchange = machine.console.on_input, machine.debug_channel.on_exchange

    def go_back() -> None:
        subscribers()
        observers.clear()
        observers.update({code: list(each) for code, each in observed.items()})
        if handlers != served:
            handlers.clear()
            handlers.update(served)
            machine.dispatcher.forget_plans()
        machine.console.output[:] = outputs
        machine.host_poll = poll
        machine.state_holders[:] = holders
        debugging.breakpoints, debugging.watchpoints = breakpoints, watchpoints
        machine.between_turns, machine.input_source = between, source
        machine.on_host_wait, machine.console.on_input = waited, on_input
        machine.debug_channel.on_exchange = on_exchange

    return go_back
