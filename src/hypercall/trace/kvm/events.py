"""From rows of numbers to events, in the order of their times.

What a trace of KVM does not tell is left as unknown as the events allow: the place in the guest is
0 without kvm_exit, the outcome of a call without kvm_hv_hypercall_done is ``?``, and the input of a
call in memory is its header where a sibling (kvm_hv_flush_tlb, kvm_hv_send_ipi) tells it, and
else nothing; so are XMM registers. A field of the header that is not told is named as unknown. KVM
has no virtual trust levels for its guests: all is VTL 0.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.control import (
    CODE_MASK,
    FAST,
    REP_COUNT_SHIFT,
    REP_MASK,
    REP_START_SHIFT,
    VARIABLE_HEADER_MASK,
    VARIABLE_HEADER_SHIFT,
)
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.trace.events import (
    Event,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MsrEvent,
    Position,
)
from hypercall.trace.kvm.scan import Kind

UNKNOWN_OUTCOME = "?"
"""The fault of a record whose result the trace does not tell."""

Row = tuple[int, ...]

# Of the header of an interrupt that lies in memory.
_NOT_TOLD = ("target_vtl",)
# The values of a row come after kind, time, thread, virtual processor, place and mask.
_VALUES = 6
_FIELDS = 8
MOST_HELD = 200_000
"""How many events wait for earlier ones, at the most."""

_MOST_HEADERS = 4096
_TIMERS = 4
_U32 = 0xFFFF_FFFF

_DETAILED: dict[int, frozenset[int]] = {
    Kind.FLUSH: frozenset({Call.FLUSH_VIRTUAL_ADDRESS_SPACE, Call.FLUSH_VIRTUAL_ADDRESS_LIST}),
    Kind.FLUSH_EX: frozenset(
        {Call.FLUSH_VIRTUAL_ADDRESS_SPACE_EX, Call.FLUSH_VIRTUAL_ADDRESS_LIST_EX}
    ),
    Kind.IPI: frozenset({Call.SEND_SYNTHETIC_CLUSTER_IPI}),
    Kind.IPI_EX: frozenset({Call.SEND_SYNTHETIC_CLUSTER_IPI_EX}),
}


class EventBuilder:
    """Makes events of rows.

    Attributes:
        numbered: the threads of which the trace does not tell which virtual processor they run;
            they have numbers from the first free one on.
    """

    def __init__(self) -> None:
        """Start without any row."""
        self.numbered: dict[int, int] = {}
        self._seen: set[int] = set()
        self._held: list[tuple[int, int, Event]] = []
        self._count = 0
        self._headers: dict[Row, bytes] = {}
        # Of each thread the last MSR written as a sibling told it, which kvm_msr tells again.
        self._told: dict[int, tuple[int, int]] = {}

    def add(self, rows: Iterable[Row], frontier: int | None) -> Iterator[Event]:
        """Take rows, and give what nothing can come before any more.

        Args:
            rows: rows as the scanner makes them.
            frontier: when the oldest call was entered that is not over yet; None if there is none.
        """
        held = self._held
        for row in rows:
            event = self.event(row)
            if event is not None:
                self._count += 1
                heapq.heappush(held, (event.position.time_ns, self._count, event))
        while held and (frontier is None or held[0][0] < frontier or len(held) > MOST_HELD):
            yield heapq.heappop(held)[2]

    def end(self) -> Iterator[Event]:
        """Give what is left."""
        while self._held:
            yield heapq.heappop(self._held)[2]

    def event(self, row: Row) -> Event | None:
        """Return the event of a row, or None where it tells nothing that has one."""
        kind, values = row[0], row[_VALUES : _VALUES + _FIELDS]
        if kind == Kind.HYPERCALL:
            return self._call(row, values)
        if kind >= Kind.ACKNOWLEDGED:
            # These say themselves whose they are, and may come from any thread.
            return self._of_processor(row, values)
        position = self._position(row)
        match kind:
            case Kind.INJECT:
                return InterruptEvent(position, values[0] & 0xFF)
            case Kind.MSR:
                return self._msr(row, position, values)
            case Kind.EXIT:
                return HaltEvent(position, True)
            case Kind.WAKEUP:
                return HaltEvent(position, False)
        return None

    def saw(self, vcpu: int) -> None:
        """Take note of a virtual processor of which somebody else makes the events."""
        self._seen.add(vcpu)

    def _position(self, row: Row) -> Position:
        return Position(row[1], self._processor(row[2], row[3]), 0, row[4])

    def _processor(self, pid: int, vcpu: int) -> int:
        if vcpu >= 0:
            self._seen.add(vcpu)
            return vcpu
        number = self.numbered.get(pid)
        if number is None:
            number = 0
            while number in self._seen:
                number += 1
            self._seen.add(number)
            self.numbered[pid] = number
        return number

    def _call(self, row: Row, values: Row) -> Event:
        position = self._position(row)
        code, fast, variable, count, index, first, second = values[:7]
        left, has_result, result, detail = row[_VALUES + _FIELDS : _VALUES + _FIELDS + 4]
        code &= CODE_MASK
        control = (
            code
            | (FAST if fast else 0)
            | (variable & VARIABLE_HEADER_MASK) << VARIABLE_HEADER_SHIFT
            | (count & REP_MASK) << REP_COUNT_SHIFT
            | (index & REP_MASK) << REP_START_SHIFT
        )
        data = b""
        if detail >= 0:
            data = self._header(code, detail, row[_VALUES + _FIELDS + 4 :])
        if fast:
            # KVM tells the two registers, and of XMM registers only what a sibling tells.
            data = first.to_bytes(8, "little") + second.to_bytes(8, "little") + data[16:]
        record = CallRecord(
            vp_index=position.vp_index,
            vtl=0,
            declaration=DECLARATIONS.by_code.get(code),
            control=control,
            fast=bool(fast),
            input_register=first,
            output_register=second,
            input=data,
            result=result if has_result else None,
            fault=None if has_result else UNKNOWN_OUTCOME,
            entered_at=position.time_ns,
            left_at=left,
            unknown=_NOT_TOLD if data and not fast and detail in (Kind.IPI, Kind.IPI_EX) else (),
        )
        return HypercallEvent(position, record)

    def _header(self, code: int, detail: int, values: Row) -> bytes:
        # Guests repeat themselves.
        key = (code, detail, *values)
        data = self._headers.get(key)
        if data is None:
            if len(self._headers) >= _MOST_HEADERS:
                self._headers.clear()
            data = self._headers[key] = _header(code, detail, values)
        return data

    def _msr(self, row: Row, position: Position, values: Row) -> Event | None:
        index, write, value, fault = values[0] & _U32, bool(values[1]), values[2], bool(values[3])
        if write and self._told.pop(row[2], None) == (index, value):
            return None
        return MsrEvent(position, index, value, write, fault)

    def _of_processor(self, row: Row, values: Row) -> Event | None:
        kind = row[0]
        vcpu = values[0] & 0x7FFF_FFFF
        own = row[3] == vcpu
        position = Position(row[1], self._processor(row[2], vcpu), 0, row[4] if own else 0)
        if kind in (Kind.DEBUG_SET, Kind.DEBUG_GET):
            return MsrEvent(position, values[2] & _U32, values[3], kind == Kind.DEBUG_SET)
        msr = _msr_written(kind, values)
        if msr is None:
            return _machine_event(kind, position, values)
        if values[3]:
            text = f"the host sets MSR {msr[0]:#x} to {msr[1]:#x}"
            return MachineEvent(position, "host-msr", text)
        self._told[row[2]] = msr
        return MsrEvent(position, msr[0], msr[1], True)


def _msr_written(kind: int, values: Row) -> tuple[int, int] | None:
    """Return the MSR and the value of a tracepoint that tells of a write."""
    match kind:
        case Kind.SYNIC_MSR:
            return values[1] & _U32, values[2]
        case Kind.TIMER_CONFIG:
            return SyntheticMsr.STIMER0_CONFIG + 2 * (values[1] % _TIMERS), values[2]
        case Kind.TIMER_COUNT:
            return SyntheticMsr.STIMER0_COUNT + 2 * (values[1] % _TIMERS), values[2]
    return None


def _machine_event(kind: int, position: Position, values: Row) -> Event | None:
    number = _signed(values[1])
    match kind:
        case Kind.ACKNOWLEDGED:
            return MachineEvent(position, "sint-acknowledged", f"SINT {number} is acknowledged")
        case Kind.SET_IRQ:
            vector, answer = _signed(values[2]), _signed(values[3])
            outcome = "" if answer >= 0 else f", which fails with {answer}"
            text = f"SINT {number} raises the vector {vector:#04x}{outcome}"
            return MachineEvent(position, "sint-raised", text)
        case Kind.SEND_EOI:
            return MachineEvent(position, "sint-eoi", f"end of the interrupt {number:#04x}")
        case Kind.TIMER_PERIODIC:
            text = f"timer {number} starts, at {values[2]}, with the period's end at {values[3]}"
            return MachineEvent(position, "timer-started", f"{text} of the reference time")
        case Kind.TIMER_ONE_SHOT:
            text = f"timer {number} starts, at {values[2]}, for {values[3]} of the reference time"
            return MachineEvent(position, "timer-started", text)
        case Kind.TIMER_CALLBACK:
            return MachineEvent(position, "timer-due", f"timer {number} is due")
        case Kind.TIMER_CLEANUP:
            return MachineEvent(position, "timer-stopped", f"timer {number} is stopped")
        case Kind.TIMER_EXPIRATION:
            way = "its interrupt" if values[2] else "its message"
            answer = _signed(values[3])
            outcome = "is sent" if answer >= 0 else f"cannot be sent ({answer})"
            text = f"timer {number} expires: {way} {outcome}"
            return MachineEvent(position, "timer-expired", text)
    return None


def _header(code: int, detail: int, values: Row) -> bytes:
    """Return the header of a call whose sibling tells its fields.

    The target VTL of an interrupt is not told.
    """
    declaration = DECLARATIONS.by_code.get(code)
    if declaration is None or code not in _DETAILED[detail]:
        return b""
    first, second, third, fourth = values[:4]
    match detail:
        case Kind.FLUSH:
            fields = {"processor_mask": first, "address_space": second, "flags": third}
        case Kind.FLUSH_EX:
            fields = {
                "valid_banks_mask": first,
                "format": second,
                "address_space": third,
                "flags": fourth,
            }
        case Kind.IPI:
            fields = {"vector": first & _U32, "processor_mask": second}
        case _:
            fields = {"vector": first & _U32, "format": second, "valid_banks_mask": third}
    return declaration.header.pack(**fields)


def _signed(value: int) -> int:
    """Return a number of 32 bits with its sign."""
    value &= _U32
    return value - (1 << 32) if value >> 31 else value
