"""Trace files of JSON lines back into events, one at a time, however large or damaged they are.

A line that cannot be read is left out and remembered with its place, and what follows is read on.
Nothing in a file is executed, and no line is held that is longer than any event can be.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

from hypercall.abi.record import CallRecord
from hypercall.errors import InputError
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.control import CODE_MASK
from hypercall.trace.description import RunDescription
from hypercall.trace.events import (
    ConsoleEvent,
    CpuidEvent,
    Event,
    FindingEvent,
    HaltEvent,
    HypercallEvent,
    InterruptEvent,
    MachineEvent,
    MessageEvent,
    MsrEvent,
    Position,
    VtlEvent,
)
from hypercall.trace.jsonl import FIRST_LINE, FORMAT_VERSION
from hypercall.trace.kinds import EVENT_NAMES

LONGEST_LINE = 1 << 20
"""Bytes that a line may have. A call's page of input and page of output take a tenth of it."""

MOST_DAMAGES = 100
"""How many damaged places are remembered; further ones are counted."""

MOST_SYMBOLS = 1 << 16
"""How many names of addresses are remembered."""

MOST_CODE = 256
"""Bytes of the guest's code that a finding may show."""

_CHUNK = 1 << 20
_SHOWN = 64
_DESCRIBES = f'{{"event":"{FIRST_LINE}"'.encode()


@dataclass(frozen=True, slots=True)
class Damage:
    """A place in a trace file that could not be read.

    Attributes:
        line: the number of the line, from 1.
        byte: the offset in the file, from 0: where the line stops making sense, or its start.
        reason: what is wrong there.
    """

    line: int
    byte: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, byte {self.byte}: {self.reason}"


class TraceReader:
    """The events of a trace file, read as they are asked for.

    Iterate over it once. What is beside the events is complete when the iteration has ended.

    Attributes:
        description: what the file says of the run.
        events: how many events were read so far.
        damages: the first :data:`MOST_DAMAGES` places that could not be read, in their order.
        damage_count: how many such places there were.
        symbols: the names of addresses that were read so far.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Read from a stream.

        Args:
            stream: the file, opened for bytes; it need not be able to seek.

        Raises:
            InputError: the file was written in a newer format.
            OSError: the stream cannot be read.
        """
        self.description = RunDescription()
        self.events = 0
        self.damages: list[Damage] = []
        self.damage_count = 0
        self._stream = stream
        self.symbols: dict[int, str] = {}
        # The description is known from the start, as far as it is where it belongs.
        lines = self._lines()
        first = next(lines, None)
        if first is not None and first[2].startswith(_DESCRIBES):
            with contextlib.suppress(ValueError, RecursionError):
                self._event(first[2])
        self._source = lines if first is None else chain((first,), lines)

    def symbol(self, address: int) -> str | None:
        """Return the name that the trace gives an address of the guest, or None.

        A trace has names of call sites; those that were read so far are known.
        """
        return self.symbols.get(address)

    def __iter__(self) -> Iterator[Event]:
        """Read the events in their order.

        Raises:
            InputError: the rest of the file was written in a newer format.
            OSError: the stream cannot be read.
        """
        for number, start, line in self._source:
            event = self.read_line(number, start, line)
            if event is not None:
                yield event

    def read_line(self, number: int, start: int, line: bytes) -> Event | None:
        """Read one line; what is wrong with it is kept in `damages`.

        Args:
            number: its number in the file, from 1.
            start: its offset in the file.
            line: the line, with its end.

        Returns:
            The event, or None of a line that has none.

        Raises:
            InputError: the rest of the file was written in a newer format.
        """
        if not line.strip():
            return None
        try:
            event = self._event(line)
        except json.JSONDecodeError as error:
            if error.pos >= len(line.rstrip()) and not line.endswith(b"\n"):
                self._damaged(number, start + error.pos, "the line ends in the middle")
            else:
                self._damaged(number, start + error.pos, f"this is no JSON: {error.msg}")
        except (ValueError, RecursionError) as error:
            text = "it is nested too deeply" if isinstance(error, RecursionError) else error
            self._damaged(number, start, str(text))
        else:
            if event is not None:
                self.events += 1
            return event
        return None

    def _damaged(self, line: int, byte: int, reason: str) -> None:
        self.damage_count += 1
        if len(self.damages) < MOST_DAMAGES:
            self.damages.append(Damage(line, byte, reason))

    def _lines(self) -> Iterator[tuple[int, int, bytes]]:
        """Return number, offset and bytes of each line that is not too long."""
        read = self._stream.readline
        number = offset = 0
        while line := read(LONGEST_LINE):
            number += 1
            start = offset
            offset += len(line)
            if len(line) < LONGEST_LINE or line.endswith(b"\n"):
                yield number, start, line
                continue
            while line and not line.endswith(b"\n"):
                line = read(_CHUNK)
                offset += len(line)
            self.leave_out(number, start)

    def leave_out(self, number: int, start: int) -> None:
        """Take note of a line that is too long."""
        self._damaged(number, start, f"the line is longer than {LONGEST_LINE} bytes")

    def _event(self, line: bytes) -> Event | None:
        # Characters beyond ASCII are escaped by the writer, so bytes and characters are the same.
        fields = json.loads(line.decode("ascii"))
        if not isinstance(fields, dict):
            raise ValueError("the line is not an object")
        name = fields.get("event")
        if name == FIRST_LINE:
            self._begin(fields)
            return None
        make = _MAKERS.get(name) if isinstance(name, str) else None
        if make is None:
            raise ValueError(f"there is no event {str(name)[:40]!r}")
        position = Position(
            _number(fields, "time_ns"),
            _number(fields, "vp", 32),
            _number(fields, "vtl", 4),
            _hexadecimal(fields, "rip"),
        )
        event = make(position, fields)
        if isinstance(event, HypercallEvent | FindingEvent):
            self._remember_symbol(position, fields.get("symbol"))
        return event

    def _begin(self, fields: dict[str, Any]) -> None:
        version = _number(fields, "version")
        if version > FORMAT_VERSION:
            raise InputError(
                f"the trace has format {version}, and this program knows up to {FORMAT_VERSION}:"
                " read it with the version of hypercall that wrote it"
            )
        self.description = RunDescription.from_dictionary(fields)

    def _remember_symbol(self, position: Position, name: Any) -> None:
        address = position.place
        if not isinstance(name, str) or address in self.symbols:
            return
        if len(self.symbols) < MOST_SYMBOLS:
            self.symbols[address] = name


def open_trace(path: Path) -> TraceReader:
    """Open a trace file; it is closed when the reader is no longer used.

    Raises:
        InputError: the file cannot be opened, or has no line that belongs to a trace.
    """
    try:
        stream = path.open("rb")
        start = stream.peek(_SHOWN)[:_SHOWN]
    except OSError as error:
        raise InputError(f"cannot read the trace {path}: {error.strerror}") from None
    if not start.lstrip().startswith(b"{"):
        stream.close()
        raise InputError(
            f"{path} is no trace of JSON lines: make one with `hypercall run --trace FILE"
            " --trace-format jsonl`"
        )
    return TraceReader(stream)


def _number(fields: dict[str, Any], name: str, bits: int = 64) -> int:
    value = fields.get(name)
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise ValueError(f"{name!r} is not a number of {bits} bits")
    return value


def _hexadecimal(fields: dict[str, Any], name: str) -> int:
    return _parse_hexadecimal(fields.get(name), name)


def _parse_hexadecimal(value: Any, name: str) -> int:
    if isinstance(value, str) and value.startswith("0x") and len(value) <= 18:
        try:
            return int(value, 16)
        except ValueError:
            pass
    raise ValueError(f"{name!r} is not a hexadecimal number of 64 bits")


def _optional_hexadecimal(fields: dict[str, Any], name: str) -> int | None:
    return None if fields.get(name) is None else _hexadecimal(fields, name)


def _truth(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise ValueError(f"{name!r} is neither true nor false")
    return value


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is no text")
    return value


def _names(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    names = fields.get(name, [])
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise ValueError(f"{name!r} is not a list of names")
    return tuple(names)


def _bytes(fields: dict[str, Any], name: str) -> bytes:
    text = _text(fields, name)
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f"{name!r} is not bytes in hexadecimal") from None


def _hypercall(position: Position, fields: dict[str, Any]) -> Event:
    position.call_site = _optional_hexadecimal(fields, "call_site")
    control = _hexadecimal(fields, "control")
    record = CallRecord(
        position.vp_index,
        position.vtl,
        DECLARATIONS.by_code.get(control & CODE_MASK),
        control,
        _truth(fields, "fast"),
        _hexadecimal(fields, "input_register"),
        _hexadecimal(fields, "output_register"),
        _bytes(fields, "input"),
        _bytes(fields, "output"),
        _optional_hexadecimal(fields, "result"),
        None if fields.get("fault") is None else _text(fields, "fault"),
        position.time_ns,
        position.time_ns + _number(fields, "duration_ns"),
        _truth(fields, "continued"),
        "injected" in fields and _truth(fields, "injected"),
        _names(fields, "unknown"),
    )
    return HypercallEvent(position, record)


def _msr(position: Position, fields: dict[str, Any]) -> Event:
    access = _text(fields, "access")
    if access not in ("read", "write"):
        raise ValueError("'access' is neither read nor write")
    return MsrEvent(
        position,
        _hexadecimal(fields, "index"),
        _hexadecimal(fields, "value"),
        access == "write",
        _truth(fields, "fault"),
    )


def _cpuid(position: Position, fields: dict[str, Any]) -> Event:
    values = fields.get("values")
    if not isinstance(values, list) or len(values) != 4:
        raise ValueError("'values' is not a list of four registers")
    eax, ebx, ecx, edx = (_parse_hexadecimal(value, "values") for value in values)
    leaf, subleaf = _hexadecimal(fields, "leaf"), _hexadecimal(fields, "subleaf")
    return CpuidEvent(position, leaf, subleaf, (eax, ebx, ecx, edx))


def _console(position: Position, fields: dict[str, Any]) -> Event:
    return ConsoleEvent(position, _bytes(fields, "data"), _text(fields, "console"))


def _interrupt(position: Position, fields: dict[str, Any]) -> Event:
    return InterruptEvent(position, _number(fields, "vector", 8), _text(fields, "kind"))


def _message(position: Position, fields: dict[str, Any]) -> Event:
    return MessageEvent(
        position,
        _number(fields, "target_vp", 32),
        _number(fields, "target_vtl", 4),
        _number(fields, "sint", 4),
        None if fields.get("vector") is None else _number(fields, "vector", 8),
        _optional_hexadecimal(fields, "message_type"),
    )


def _halt(position: Position, fields: dict[str, Any]) -> Event:
    return HaltEvent(position, _truth(fields, "halted"))


def _vtl(position: Position, fields: dict[str, Any]) -> Event:
    return VtlEvent(position, _number(fields, "entered", 4), _text(fields, "reason"))


def _machine(position: Position, fields: dict[str, Any]) -> Event:
    return MachineEvent(position, _text(fields, "kind"), _text(fields, "text"))


def _finding(position: Position, fields: dict[str, Any]) -> Event:
    rule, severity = _text(fields, "rule"), _text(fields, "severity")
    text = _text(fields, "text")
    position.call_site = _optional_hexadecimal(fields, "call_site")
    if "code" not in fields:
        return FindingEvent(position, rule, severity, text)
    code, address = _bytes(fields, "code"), _hexadecimal(fields, "code_address")
    bits = _number(fields, "bits", 8)
    if len(code) > MOST_CODE or bits not in (32, 64):
        raise ValueError("the code of a finding makes no sense")
    return FindingEvent(position, rule, severity, text, code, address, bits)


_MAKERS = MappingProxyType[str, Callable[[Position, dict[str, Any]], Event]](
    {
        EVENT_NAMES[HypercallEvent]: _hypercall,
        EVENT_NAMES[MsrEvent]: _msr,
        EVENT_NAMES[CpuidEvent]: _cpuid,
        EVENT_NAMES[ConsoleEvent]: _console,
        EVENT_NAMES[InterruptEvent]: _interrupt,
        EVENT_NAMES[MessageEvent]: _message,
        EVENT_NAMES[HaltEvent]: _halt,
        EVENT_NAMES[VtlEvent]: _vtl,
        EVENT_NAMES[MachineEvent]: _machine,
        EVENT_NAMES[FindingEvent]: _finding,
    }
)
