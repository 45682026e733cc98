import builtins
import struct
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from tests.report.samples import at, call, sample, send

from hypercall.errors import InputError
from hypercall.trace import parquet
from hypercall.trace.events import HypercallEvent, MachineEvent, MsrEvent
from hypercall.trace.hub import ALL_KINDS, EventKind
from hypercall.trace.parquet import ParquetWriter


def rows(path: Path, *events: Any, kind: EventKind = HypercallEvent) -> list[dict[str, Any]]:
    with ParquetWriter(path / "table.parquet", kind, {0x2000: "send+0x4"}.get) as writer:
        for event in events:
            writer.write(event)
    table = pyarrow.parquet.read_table(path / "table.parquet")
    assert table.num_rows == writer.rows
    found: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    return found


def test_a_call_is_a_row(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, send(1000, 0, 0b110, took=7))
    assert row == {
        "time_ns": 1000,
        "vp": 0,
        "vtl": 0,
        "rip": 0x1000,
        "call_site": 0x2000,
        "symbol": "send+0x4",
        "call": "HvCallSendSyntheticClusterIpi",
        "code": 0x0B,
        "control": 0x0B,
        "fast": False,
        "rep_start": 0,
        "rep_count": 0,
        "input_register": 0x5000,
        "output_register": 0,
        "arguments": {"vector": "0xfb", "target_vtl": "own", "processor_mask": "{1-2}"},
        "outputs": {},
        "status": "SUCCESS",
        "result": 0,
        "reps_completed": 0,
        "fault": None,
        "continued": False,
        "duration_ns": 7,
        "input": struct.pack("<IIQ", 0xFB, 0, 0b110),
        "output": b"",
    }


def test_calls_of_all_kinds_are_rows(tmp_path: Path) -> None:
    continued = call(3, struct.pack("<QQQQ", 0, 0, 1, 0x1000), 1)
    continued.record.control |= 5 << 32 | 2 << 48
    continued.record.continued, continued.record.result = True, None
    faulted = call(0xBEEF, b"", (1 << 64) - 1)
    faulted.record.fault, faulted.record.result = "#UD \ud800", None
    done = call(3, struct.pack("<QQQQ", 0, 0, 1, 0x1000), 1, vp=9, result=5 << 32)
    one, two, three = rows(tmp_path, continued, faulted, done)
    assert (one["rep_count"], one["rep_start"], one["continued"], one["status"]) == (
        5,
        2,
        True,
        None,
    )
    assert (two["time_ns"], two["fault"], two["result"]) == ((1 << 64) - 1, "#UD ?", None)
    assert two["call"] == "unknown call 0xbeef"
    assert (three["reps_completed"], three["symbol"], three["call_site"]) == (5, None, 0x2090)


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_table(tmp_path: Path, kind: EventKind) -> None:
    wanted = [event for event in sample() if type(event) is kind]
    found = rows(tmp_path, *sample(), kind=kind)
    assert [(row["time_ns"], row["vp"]) for row in found] == [
        (event.position.time_ns, event.position.vp_index) for event in wanted
    ]
    assert wanted


def test_values_of_other_events(tmp_path: Path) -> None:
    first, second = rows(tmp_path, *sample(), kind=MsrEvent)
    assert (first["name"], first["write"], first["value"]) == ("GUEST_OS_ID", True, 0x8100)
    assert second["fault"] is True
    (row,) = rows(tmp_path, MachineEvent(at(5), "reset", "bad \ud800"), kind=MachineEvent)
    assert (row["kind"], row["text"]) == ("reset", "bad ?")


def test_many_rows_are_written_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_ROWS", 10)
    assert [row["time_ns"] for row in rows(tmp_path, *(send(n, 0, 1) for n in range(35)))] == list(
        range(35)
    )
    file = pyarrow.parquet.ParquetFile(tmp_path / "table.parquet")
    assert file.num_row_groups == 4


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    assert rows(tmp_path) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write"):
        ParquetWriter(tmp_path / "no" / "table.parquet")


def test_without_pyarrow_one_line_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'hypercall\[analysis\]'"):
        ParquetWriter(tmp_path / "table.parquet")
