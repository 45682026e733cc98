import dataclasses
import io

import pytest
from fake_machine import fake_result

from hypercall.abi.record import CallRecord
from hypercall.cli.summary import outcome_line, time_line, write_summary
from hypercall.machine.result import RunResult, StopReason
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.events import HypercallEvent, Position
from hypercall.trace.statistics import Statistics


def summary(result: RunResult, statistics: Statistics) -> str:
    stream = io.StringIO()
    write_summary(stream, result, statistics, lambda address: {0x2000: "send[0]+0x4"}.get(address))
    return stream.getvalue()


def count(statistics: Statistics, site: int | None, times: int = 1) -> None:
    for number in range(times):
        at = 1_000_000_000 + number
        record = CallRecord(
            0, 0, DECLARATIONS.by_code[0x5C], 0x5C, False, 0, 0, result=0, entered_at=at
        )
        record.left_at = at + 1500
        statistics.count(HypercallEvent(Position(at, 0, 0, 0, site), record))


def test_calls_exits_and_times_are_shown() -> None:
    statistics = Statistics()
    count(statistics, 0x2000, 2)
    count(statistics, 0x1000)
    shown = summary(fake_result(), statistics)
    row = next(line for line in shown.splitlines() if "HvCallPostMessage" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == [
        "HvCallPostMessage",
        "SUCCESS",
        "3",
        "1.000",
        "1.000",
        "1.50",
        "send[0]+0x4",
    ]
    assert "3 hypercalls" in shown
    assert "15 exits" in shown
    assert shown.index("port") < shown.index("hypercall ")
    assert "The guest powered off." in shown
    assert "1.500 s of virtual time in 0.50 s, 40.0 MB of guest code" in shown
    assert "\x1b" not in shown, "what is no terminal gets no colours"


def test_a_call_site_without_symbol_is_an_address() -> None:
    statistics = Statistics()
    count(statistics, 0x1234)
    assert "0x1234" in summary(fake_result(), statistics)


def test_a_guest_without_hypercalls_is_said_to_have_none() -> None:
    result = dataclasses.replace(fake_result(), exits={})
    shown = summary(result, Statistics())
    assert "no hypercalls" in shown
    assert "exits" not in shown


def test_kinds_of_exits_that_never_came_are_left_out() -> None:
    result = dataclasses.replace(fake_result(), exits={"port": 1, "halts": 0})
    assert "halts" not in summary(result, Statistics())


@pytest.mark.parametrize("reason", list(StopReason))
def test_every_reason_has_a_sentence(reason: StopReason) -> None:
    line = outcome_line(fake_result(reason))
    assert line[0].isupper()
    assert line.endswith(".")


def test_a_detail_and_a_value_are_part_of_the_sentence() -> None:
    panic = dataclasses.replace(fake_result(StopReason.PANIC), detail="Attempted to\nkill init")
    assert outcome_line(panic) == "The guest panicked: Attempted to kill init."
    failed = fake_result(StopReason.DEBUG_EXIT, 3)
    assert outcome_line(failed).endswith("debug exit port with the value 3.")


def test_speed_is_labelled_as_what_it_is() -> None:
    line = time_line(fake_result())
    assert "(80 MB/s, about 20 MIPS at 4 bytes an instruction)" in line
    instant = dataclasses.replace(fake_result(), host_seconds=0.0)
    assert "MIPS" not in time_line(instant)


def test_a_run_that_went_on_tells_its_own_part() -> None:
    result = dataclasses.replace(fake_result(), began_ns=500_000_000, executed_before=30_000_000)
    line = time_line(result)
    assert line.startswith("From 0.500 s: 1.000 s of virtual time in 0.50 s, 10.0 MB of guest code")
    assert "(20 MB/s" in line


class NarrowTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_narrow_terminal_shows_whole_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    statistics = Statistics()
    count(statistics, 0x2000, 2)
    stream = NarrowTerminal()
    write_summary(stream, fake_result(), statistics, {0x2000: "send+0x4"}.get)
    row = next(line for line in stream.getvalue().splitlines() if "HvCallPostMessage" in line)
    assert row.split()[1::2] == ["HvCallPostMessage", "SUCCESS", "2", "send+0x4"]
    assert "first s" not in stream.getvalue()


def test_reps_are_shown_if_there_were_any() -> None:
    statistics = Statistics()
    count(statistics, None)
    assert "reps" not in summary(fake_result(), statistics)
    flush = CallRecord(0, 0, DECLARATIONS.by_code[3], 3, False, 0, 0, result=7 << 32)
    statistics.count(HypercallEvent(Position(0, 0, 0, 0), flush))
    shown = summary(fake_result(), statistics)
    row = next(line for line in shown.splitlines() if "HvCallFlushVirtualAddressList" in line)
    assert "reps" in shown
    assert "│     7 │" in row or " 7 " in row
