"""Tables of a trace as Parquet files, for DuckDB, pandas, Polars and their like.

A table has one kind of events. Needs pyarrow, which the extra ``analysis`` brings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from hypercall.errors import InputError
from hypercall.tlfs.control import ControlWord, ResultValue
from hypercall.tlfs.msrs import msr_name
from hypercall.tlfs.status import status_text
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
    VtlEvent,
)
from hypercall.trace.hub import EventKind
from hypercall.trace.remembered import Remembered
from hypercall.trace.shown import ShownCall, show_call

_ROWS = 1 << 15
"""Rows that are held before they are written as a group."""

_POSITION = {"time_ns": "uint64", "vp": "uint32", "vtl": "uint8", "rip": "uint64"}
_COLUMNS: dict[EventKind, dict[str, str]] = {
    HypercallEvent: {
        "call_site": "uint64",
        "symbol": "string",
        "call": "string",
        "code": "uint16",
        "control": "uint64",
        "fast": "bool",
        "rep_start": "uint16",
        "rep_count": "uint16",
        "input_register": "uint64",
        "output_register": "uint64",
        "arguments": "texts",
        "outputs": "texts",
        "status": "string",
        "result": "uint64",
        "reps_completed": "uint16",
        "fault": "string",
        "continued": "bool",
        "duration_ns": "uint64",
        "input": "binary",
        "output": "binary",
    },
    MsrEvent: {
        "index": "uint32",
        "name": "string",
        "write": "bool",
        "value": "uint64",
        "fault": "bool",
    },
    CpuidEvent: {
        "leaf": "uint64",
        "subleaf": "uint64",
        "eax": "uint64",
        "ebx": "uint64",
        "ecx": "uint64",
        "edx": "uint64",
    },
    ConsoleEvent: {"console": "string", "data": "binary"},
    InterruptEvent: {"vector": "uint8", "kind": "string"},
    MessageEvent: {
        "target_vp": "uint32",
        "target_vtl": "uint8",
        "sint": "uint8",
        "vector": "uint8",
        "message_type": "uint64",
    },
    HaltEvent: {"halted": "bool"},
    VtlEvent: {"entered": "uint8", "reason": "string"},
    MachineEvent: {"kind": "string", "text": "string"},
    FindingEvent: {"rule": "string", "severity": "string", "text": "string"},
}


class ParquetWriter:
    """Writes the events of one kind as a Parquet file; a context manager.

    Attributes:
        rows: how many were written.
    """

    def __init__(
        self,
        path: Path,
        kind: EventKind = HypercallEvent,
        symbol: Callable[[int], str | None] = lambda address: None,
    ) -> None:
        """Begin a file.

        Args:
            path: the file.
            kind: the class of the events; others are passed over.
            symbol: the name of a guest-virtual address, or None.

        Raises:
            InputError: pyarrow is not installed, or the file cannot be written.
        """
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise InputError(
                "Parquet files need pyarrow: install it by pip install 'hypercall[analysis]'"
            ) from None
        self.rows = 0
        self._kind = kind
        self._symbol = symbol
        self._calls: Remembered[ShownCall] = Remembered(show_call)
        self._arrow = pyarrow
        types = _POSITION | _COLUMNS[kind]
        texts = pyarrow.map_(pyarrow.string(), pyarrow.string())
        self._schema = pyarrow.schema(
            [
                (name, texts if each == "texts" else pyarrow.type_for_alias(each))
                for name, each in types.items()
            ]
        )
        self._columns: dict[str, list[Any]] = {name: [] for name in types}
        try:
            self._writer = pyarrow.parquet.ParquetWriter(
                str(path), self._schema, compression="zstd"
            )
        except OSError as error:
            raise InputError(f"cannot write {path}: {error}") from None

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, event: Event) -> None:
        """Write one event, if it is of the kind."""
        if type(event) is not self._kind:
            return
        position = event.position
        row: tuple[Any, ...] = (
            position.time_ns,
            position.vp_index,
            position.vtl,
            position.rip,
            *self._values(event),
        )
        for column, value in zip(self._columns.values(), row, strict=True):
            column.append(value)
        self.rows += 1
        if self.rows % _ROWS == 0:
            self._write_group()

    def close(self) -> None:
        """Write what is left and end the file."""
        if self.rows % _ROWS:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        table = self._arrow.Table.from_pydict(self._columns, schema=self._schema)
        self._writer.write_table(table)
        for column in self._columns.values():
            column.clear()

    def _values(self, event: Event) -> tuple[Any, ...]:
        match event:
            case HypercallEvent():
                return self._call(event)
            case MsrEvent(index=index, value=value, write=write, fault=fault):
                return (index & 0xFFFF_FFFF, msr_name(index), write, value, fault)
            case CpuidEvent(leaf=leaf, subleaf=subleaf, values=values):
                return (leaf, subleaf, *values)
            case ConsoleEvent(data=data, console=console):
                return (_clean(console), data)
            case InterruptEvent(vector=vector, kind=kind):
                return (vector, _clean(kind))
            case MessageEvent():
                return (
                    event.target_vp,
                    event.target_vtl,
                    event.sint,
                    event.vector,
                    event.message_type,
                )
            case HaltEvent(halted=halted):
                return (halted,)
            case VtlEvent(entered=entered, reason=reason):
                return (entered, _clean(reason))
            case MachineEvent(kind=kind, text=text):
                return (_clean(kind), _clean(text))
            case FindingEvent(rule=rule, severity=severity, text=text):
                return (_clean(rule), _clean(severity), _clean(text))
        raise TypeError(f"no such event: {event!r}")

    def _call(self, event: HypercallEvent) -> tuple[Any, ...]:
        record, site = event.record, event.position.call_site
        shown = self._calls.of(record)
        symbol = None if site is None else self._symbol(site)
        result = None if record.continued else record.result
        value = None if result is None else ResultValue.parse(result)
        control = ControlWord.parse(record.control)
        return (
            site,
            None if symbol is None else _clean(symbol),
            shown.name,
            control.code,
            record.control,
            record.fast,
            control.rep_start,
            control.rep_count,
            record.input_register,
            record.output_register,
            shown.arguments,
            shown.outputs,
            None if value is None else status_text(value.status),
            result,
            0 if value is None else value.reps_completed,
            None if record.fault is None else _clean(record.fault),
            record.continued,
            max(0, record.left_at - record.entered_at),
            record.input,
            record.output,
        )


def _clean(text: str) -> str:
    """Return text that UTF-8 can hold; a damaged trace may have other."""
    return text.encode("utf-8", "replace").decode()
