"""What the virtual processors do, in lines for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypercall.machine.processor_state import Activity, ProcessorState
from hypercall.trace.last_seen import LastSeen
from hypercall.trace.statistics import outcome_of

_MOST_SHOWN = 16
_RESTING = (Activity.HALTED, Activity.IDLE)


def processor_text(
    states: Sequence[ProcessorState], last: LastSeen, symbol: Callable[[int], str | None]
) -> str:
    """Return what each virtual processor does, where, since when, and what could wake it.

    Args:
        states: what they do.
        last: the last events of each.
        symbol: the name of a guest address, or None.

    Returns:
        Lines, each with its end.
    """
    shown = list(states)
    if len(shown) > _MOST_SHOWN:
        # Those that do something come first; each group stays in its order.
        shown.sort(key=lambda state: (state.activity is Activity.NOT_STARTED, _rests(state)))
    lines = [line for state in shown[:_MOST_SHOWN] for line in _lines(state, last, symbol)]
    if len(shown) > _MOST_SHOWN:
        lines.append(f"and {len(shown) - _MOST_SHOWN} more")
    return "".join(f"{line}\n" for line in lines)


def _rests(state: ProcessorState) -> bool:
    return state.activity in _RESTING


def _lines(state: ProcessorState, last: LastSeen, symbol: Callable[[int], str | None]) -> list[str]:
    def name(address: int) -> str:
        return symbol(address) or f"{address:#x}"

    vtl = f" VTL {state.vtl}" if state.vtl else ""
    title = f"VP {state.vp_index}{vtl}: {state.activity.value}"
    if state.activity is Activity.NOT_STARTED:
        return [title]
    halt = last.halts.get(state.vp_index)
    if state.activity is not Activity.RUNNING and halt is not None:
        title += f" since {_seconds(halt.position.time_ns)}"
    where = f"user code at {state.rip:#x}" if state.user else name(state.rip)
    title += f", {where}, interrupts {'on' if state.interrupts_enabled else 'off'}"
    lines = [title]
    if state.return_addresses:
        lines.append("  stack: " + ", ".join(name(each) for each in state.return_addresses))
    lines.append("  last: " + "; ".join(_last(state, last)))
    waits = []
    if state.requested:
        waits.append(f"pending: {_vectors(state.requested)}")
    if state.in_service:
        waits.append(f"in service: {_vectors(state.in_service)}")
    deadline = state.deadline_ns
    waits.append(
        "none of its timers runs" if deadline is None else f"next timer at {_seconds(deadline)}"
    )
    lines.append("  " + "; ".join(waits))
    return lines


def _last(state: ProcessorState, last: LastSeen) -> list[str]:
    parts = []
    interrupt = last.interrupts.get(state.vp_index)
    if interrupt is None:
        parts.append("no interrupt")
    else:
        parts.append(f"interrupt {interrupt.vector:#x} at {_seconds(interrupt.position.time_ns)}")
    call = last.calls.get(state.vp_index)
    if call is None:
        parts.append("no hypercall")
    else:
        declaration = call.record.declaration
        called = declaration.name if declaration else f"call {call.record.control & 0xFFFF:#06x}"
        at = _seconds(call.position.time_ns)
        parts.append(f"{called} at {at}, {outcome_of(call.record)}")
    return parts


def _vectors(vectors: Sequence[int]) -> str:
    return ", ".join(f"{vector:#x}" for vector in vectors)


def _seconds(time_ns: int) -> str:
    return f"{time_ns / 1e9:.6f} s"
