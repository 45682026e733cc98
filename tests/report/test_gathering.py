from typing import Any

from tests.report.samples import call, flush, sample, send

from hypercall.report import gathering
from hypercall.report.gathering import Gathering
from hypercall.trace.description import RunDescription
from hypercall.trace.events import ConsoleEvent, FindingEvent, HypercallEvent, Position


def gathered(rows: int = 1000) -> dict[str, Any]:
    it = Gathering(RunDescription(image="vmlinuz", cpus=3), {0x2000: "send+0x4"}.get, rows)
    for event in sample():
        it.add(event)
    return it.as_dictionary(["it was cut"])


def test_calls_by_name_and_outcome() -> None:
    rows = gathered()["calls"]
    assert [(row["name"], row["outcome"], row["count"], row["problem"]) for row in rows] == [
        ("HvCallFlushVirtualAddressSpace", "SUCCESS", 1, False),
        ("HvCallSendSyntheticClusterIpi", "INVALID_PARAMETER", 1, True),
        ("HvCallSendSyntheticClusterIpi", "SUCCESS", 1, False),
        ("unknown call 0xbeef", "INVALID_HYPERCALL_CODE", 1, True),
    ]
    assert (rows[0]["mean"], rows[0]["first"], rows[0]["sites"]) == (300.0, 2000, [["0x2010", 1]])
    assert rows[2]["sites"] == [["send+0x4", 1]]


def test_who_reaches_whom() -> None:
    assert gathered()["matrices"] == {
        "interrupts": [[0, 1, 1], [0, 2, 1]],
        "flushes": [[1, 0, 1], [1, 2, 1]],
        "messages": [[2, 0, 1]],
    }


def test_how_long_an_arrival_takes() -> None:
    rows = gathered()["arrivals"]
    assert [(row["vector"], row["count"], row["least"], row["most"]) for row in rows] == [
        (0xFB, 2, 600, 900),
        (0xF3, 1, 100, 100),
    ]
    assert gathered()["arrows"] == [[1000, 0, 1600, 1], [1000, 0, 1900, 2], [2100, 2, 2200, 0]]
    assert len(gathered(rows=2)["arrows"]) == 2


def test_the_time_line_has_counts_and_times() -> None:
    content = gathered()
    lanes = {lane["vp"]: lane for lane in content["timeline"]["lanes"]}
    assert sum(lanes[0]["counts"]["calls"]) == 3
    assert sum(lanes[0]["counts"]["problems"]) == 6
    assert sum(lanes[1]["times"]["resting"]) == 600
    assert sum(lanes[0]["times"]["vtl1"]) == 600
    assert (content["start"], content["end"]) == (10, 5000)


def test_equal_findings_are_one() -> None:
    content = gathered()
    assert [(each["rule"], each["count"], each["first_ns"]) for each in content["findings"]] == [
        ("overlap", 3, 3000),
        ("slow-form", 1, 3100),
    ]


def test_a_run_that_nobody_checked_is_checked_for_the_page() -> None:
    it = Gathering(RunDescription(source="kvm"), lambda address: None, 10)
    for time in (10, 20):
        it.add(send(time, 0, 0))
    content = it.as_dictionary()
    found, slow = content["findings"]
    assert (slow["rule"], slow["count"]) == ("slow-form", 2)
    assert (found["rule"], found["count"], found["first_ns"]) == ("empty-processor-set", 2, 10)
    assert found["why"].startswith("A flush of nobody")
    assert "hv_vp_set" in found["section"]
    assert found["code"] == []
    assert sum(content["timeline"]["lanes"][0]["counts"]["findings"]) == 2
    reasons = {each["reason"]: (each["rules"], each["inPart"]) for each in content["unchecked"]}
    assert "uninitialised-input" in reasons["the machine while it runs"][0]
    assert reasons["the reserved bits of control words"] == (["reserved-bits"], True)


def test_a_finding_shows_the_code_that_its_run_told() -> None:
    it = Gathering(RunDescription(source="hypercall", checks="stale"), lambda address: None, 10)
    position = Position(5, 0, 0, 0x1000, 0x2003)
    code = bytes.fromhex("0f01c1c3")
    it.add(FindingEvent(position, "slow-form", "advice", "slow", code, 0x2000))
    content = it.as_dictionary()
    assert content["findings"][0]["code"] == ["   2000  vmcall", "=> 2003  ret"]
    assert content["unchecked"] == []


def test_events_are_rows() -> None:
    content = gathered()
    assert content["total"] == len(content["rows"]) == 21
    number, time_ns, vp, vtl, kind, text, site, took, problem = content["rows"][5]
    assert (number, time_ns, vp, vtl, took, problem) == (5, 1000, 0, 0, 7, 0)
    assert content["kindNames"][kind] == "hypercall"
    assert content["strings"][text].startswith("HvCallSendSyntheticClusterIpi(vector=0xfb")
    assert content["strings"][site] == "send+0x4"
    assert content["rows"][6][-1] == 1
    assert content["notes"] == ["it was cut"]


def test_few_rows_leave_the_counts_whole() -> None:
    content = gathered(rows=4)
    assert len(content["rows"]) == 4
    assert content["total"] == 21
    assert content["matrices"] == gathered()["matrices"]


def test_what_never_wakes_rests_to_the_end() -> None:
    it = Gathering(RunDescription(), lambda address: None)
    events = list(sample())
    for event in (events[4], events[-1]):
        it.add(event)
    (lane,) = [lane for lane in it.as_dictionary()["timeline"]["lanes"] if lane["vp"] == 1]
    assert sum(lane["times"]["resting"]) == 4100


def test_the_console_keeps_its_end(monkeypatch: Any) -> None:
    monkeypatch.setattr(gathering, "_CONSOLE_BYTES", 10)
    it = Gathering(RunDescription(), lambda address: None)
    for piece in (b"0123", b"456789", b"abcd", b"ef\xff"):
        it.add(ConsoleEvent(Position(0, 0, 0, 0), piece))
    content = it.as_dictionary()
    assert (content["console"], content["consoleCut"]) == ("789abcdef\ufffd", 7)


def test_nothing_grows_without_end(monkeypatch: Any) -> None:
    for name in ("_MOST_FINDINGS", "_MOST_CALL_ROWS", "_MOST_SITES_KEPT"):
        monkeypatch.setattr(gathering, name, 5)
    it = Gathering(RunDescription(), lambda address: None, 10)
    for number in range(50):
        position = Position(number, number, 0, 0)
        it.add(FindingEvent(position, f"rule {number}", "error", "x" * 5000))
        it.add(call(0x9000 + number, b"", number, number, result=2))
        ipi = send(number, number, 1)
        it.add(HypercallEvent(Position(number, number, 0, number, number), ipi.record))
        it.add(flush(number, 1 << 31, 1 << 63))
    content = it.as_dictionary()
    assert len(content["findings"]) == 5
    assert content["findingsLeftOut"] == 45
    assert len(content["calls"]) == 6
    assert ("other calls", "") in {(row["name"], row["outcome"]) for row in content["calls"]}
    assert sum(row["count"] for row in content["calls"]) == 150
    assert max(len(text) for text in content["strings"]) < 2000
    assert content["matrixSize"] == 64


def test_times_far_from_zero_are_counted_from_the_first_event() -> None:
    it = Gathering(RunDescription(), lambda address: None)
    epoch = 1_700_000_000_000_000_001
    it.add(send(epoch, 0, 1))
    it.add(FindingEvent(Position(epoch + 5, 0, 0, 0), "overlap", "error", "they overlap"))
    content = it.as_dictionary()
    assert [row[1] for row in content["rows"]] == [0, 5]
    assert (content["start"], content["end"]) == (0, 5)
    assert (content["calls"][0]["first"], content["findings"][0]["first_ns"]) == (0, 5)
    assert content["timeline"]["lanes"][0]["first"] == 0
    assert content["notes"] == [f"Times are counted from the first event, at {epoch} ns."]


def test_a_call_from_nowhere_has_no_place() -> None:
    it = Gathering(RunDescription(source="kvm"), lambda address: None)
    it.add(HypercallEvent(Position(5, 0, 0, 0), send(5, 0, 1).record))
    content = it.as_dictionary()
    assert content["rows"][0][6] == -1
    assert content["calls"][0]["sites"] == []
