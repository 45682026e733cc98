"""Records the calls that a guest makes, for tests to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from hypercall.errors import InputError
from hypercall.testing.calls import Calls, RecordedCall
from hypercall.trace.events import Event, HypercallEvent
from hypercall.trace.hub import TraceHub

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine

MOST_CALLS = 200_000
"""So many calls are recorded at most."""

_Key = tuple[int, int, int, int, int]


class CallRecorder(Calls):
    """The calls that a guest has made since the recorder was made, as they come.

    A call that the guest had to issue several times is one: its last attempt, with the time of the
    first.

    Args:
        hub: where the events are.
        symbol: the guest's name for an address, or None.

    Raises:
        InputError: from any look at the calls, if there were more than `MOST_CALLS`.
    """

    def __init__(self, hub: TraceHub, symbol: Callable[[int], str | None]) -> None:
        super().__init__([], "calls")
        self._hub = hub
        self._symbol = symbol
        self._begun: dict[_Key, int] = {}
        self._lost = False
        self._end = hub.subscribe(self._record, HypercallEvent)

    def stop(self) -> None:
        """Record no more."""
        self._end()

    def recording(self) -> AbstractContextManager[Calls]:
        """Record by itself what is called in the block: ``with guest.calls.recording() as calls``.

        Returns:
            A context manager that gives the calls, which stay when the block has ended.
        """
        return _recording(self._hub, self._symbol)

    def _all(self) -> list[RecordedCall]:
        if self._lost:
            raise InputError(
                f"there were more than {MOST_CALLS} calls: record only the part that matters, by"
                " `with guest.calls.recording() as calls`"
            )
        return self._calls

    def _record(self, event: Event) -> None:
        if not isinstance(event, HypercallEvent):
            return
        record = event.record
        key = (
            *(record.vp_index, record.vtl, record.control & 0xFFFF),
            *(record.input_register, record.output_register),
        )
        if record.continued:
            self._begun.setdefault(key, record.entered_at)
            return
        began = self._begun.pop(key, record.entered_at) if self._begun else record.entered_at
        if len(self._calls) >= MOST_CALLS:
            self._lost = True
            return
        self._calls.append(RecordedCall(event, began, self._symbol))


def recording(machine: Machine) -> AbstractContextManager[Calls]:
    """Record the calls that a machine's guest makes in the block.

    Args:
        machine: the machine.

    Returns:
        A context manager that gives the calls, which stay when the block has ended.
    """
    return _recording(machine.trace, machine.symbol)


@contextmanager
def _recording(hub: TraceHub, symbol: Callable[[int], str | None]) -> Iterator[Calls]:
    recorder = CallRecorder(hub, symbol)
    try:
        yield recorder
    finally:
        recorder.stop()
