"""Recorded runs: what they tell, what the rules find in them, and what is said not to be known."""

import io
import struct
from pathlib import Path

import pytest
from tests.checks.test_checker import event
from tests.trace.kvm.recordings import OLD_HYPERCALL, POINTS, Entry, ftrace, trace_dat

from hypercall.checks.finding import MOST_FINDINGS, Finding
from hypercall.checks.recorded import RecordedChecks, offline_findings
from hypercall.checks.rule import Source
from hypercall.checks.rules import RULES
from hypercall.trace.description import RunDescription
from hypercall.trace.events import Event, FindingEvent, MsrEvent, Position
from hypercall.trace.hub import ALL_KINDS
from hypercall.trace.jsonl import JsonLinesWriter
from hypercall.trace.kvm.reader import KvmTrace, open_kvm_trace
from hypercall.trace.reading import TraceReader
from mistaken_guests import MISTAKES
from mistaken_guests.mistake import Mistake
from mistakes import LIMIT_NS, machine_for

KVM = RunDescription(source="kvm")
# The guest of the last one makes no call, so that its trace could be one of MSRs alone.
OFFLINE = {rule.name for rule in RULES if rule.source is Source.EVENTS} - {"unused-recommendation"}
SHOWN = [each for each in MISTAKES if each.rule in OFFLINE]


def checked(events: list[Event], description: RunDescription = KVM) -> RecordedChecks:
    checks = RecordedChecks(description)
    for each in events:
        checks.feed(each)
    checks.finish()
    return checks


def rules_of(checks: RecordedChecks) -> list[tuple[str, int]]:
    return [(finding.rule.name, finding.count) for finding in checks.findings]


def lacking(checks: RecordedChecks) -> dict[str, tuple[str, ...]]:
    return {each.reason: tuple(rule.name for rule in each.rules) for each in checks.unchecked}


@pytest.mark.parametrize("mistake", SHOWN, ids=[each.rule for each in SHOWN])
@pytest.mark.parametrize("right", [False, True])
def test_the_trace_of_a_guest_shows_its_mistake(mistake: Mistake, right: bool) -> None:
    """The guest runs without any check; its trace is written, read, and checked."""
    machine, address = machine_for(mistake, right=right)
    written: list[str] = []
    writer = JsonLinesWriter(written.append, machine.symbol, machine.describe())
    writer.attach(machine.trace, *ALL_KINDS)
    machine.run(LIMIT_NS)
    reader = TraceReader(io.BytesIO("".join(written).encode()))
    found = offline_findings(reader, reader.description)
    assert [(each.rule.name, each.address) for each in found] == (
        [] if right else [(mistake.rule, address)]
    )


FAST_IPI = {"code": 0xB, "fast": 1, "ingpa": 0xF3, "outgpa": 2}


def host(*entries: tuple[str, dict[str, int]], pid: int = 7) -> KvmTrace:
    """A trace of one processor, in one of the formats."""
    listed = [
        Entry(1000 * number, pid, 0, name, values)
        for number, (name, values) in enumerate(entries, 1)
    ]
    return KvmTrace(io.BytesIO(ftrace(listed, digits=9)), "trace")


def call(result: int | None = 0, **values: int) -> list[tuple[str, dict[str, int]]]:
    done = [] if result is None else [("kvm_hv_hypercall_done", {"result": result})]
    return [
        ("kvm_exit", {"guest_rip": 0x1003, "exit_reason": 18, "vcpu_id": 0}),
        ("kvm_hv_hypercall", values),
        *done,
        ("kvm_entry", {"vcpu_id": 0}),
    ]


def found_in(*entries: tuple[str, dict[str, int]]) -> list[tuple[str, int]]:
    return rules_of(checked(list(host(*entries).events())))


def test_a_trace_of_kvm_shows_what_its_calls_say() -> None:
    assert found_in(*call(**FAST_IPI)) == []
    assert found_in(*call(5, **FAST_IPI | {"outgpa": 0}), *call(5, **FAST_IPI | {"outgpa": 0})) == [
        ("empty-processor-set", 2)
    ]
    assert found_in(*call(4, code=0x5C, ingpa=0x5004)) == [("parameter-alignment", 1)]
    assert found_in(*call(code=0x5C, ingpa=0x5FF8)) == [("parameter-page-crossing", 1)]
    assert found_in(*call(2, code=0x1234, fast=1)) == [("unknown-call", 1)]
    assert found_in(*call(6, code=0x5D, fast=1, ingpa=7)) == [("missing-privilege", 1)]
    assert found_in(*call(0x12, code=0x5D, fast=1, ingpa=7) * 3) == [("hopeless-retry", 1)]
    flush = ("kvm_hv_flush_tlb", {"processor_mask": 1, "address_space": 0x1000, "flags": 2})
    entries = call(code=2, ingpa=0x5000)
    assert found_in(*entries[:2], flush, *entries[2:]) == [("oversized-flush", 1)]


def test_calls_of_one_place_in_the_hypercall_page_are_told_apart() -> None:
    """A trace of KVM has the place in the page, and not who called the page."""
    assert found_in(*call(2, code=0x1234), *call(2, code=0x1235), *call(2, code=0x1234)) == [
        ("unknown-call", 2),
        ("unknown-call", 1),
    ]


def test_calls_that_only_look_the_same_are_no_hopeless_retry() -> None:
    """Each processor has one page for its input; what was in it is not in the trace."""
    assert found_in(*call(0x12, code=0x5C, ingpa=0x5000) * 5) == []


def test_a_processor_set_without_its_banks_is_not_empty() -> None:
    for name, code, values in (
        ("kvm_hv_flush_tlb_ex", 0x13, {"valid_bank_mask": 1, "format": 0, "flags": 0}),
        ("kvm_hv_flush_tlb_ex", 0x13, {"valid_bank_mask": 0, "format": 1, "flags": 0}),
        ("kvm_hv_send_ipi_ex", 0x15, {"vector": 0xF3, "valid_bank_mask": 1, "format": 0}),
    ):
        entries = call(code=code, var_cnt=1, ingpa=0x5000)
        assert found_in(*entries[:2], (name, values), *entries[2:]) == []


def test_what_kernels_before_5_17_do_not_tell_is_no_finding() -> None:
    """Their kvm_hv_hypercall has no size of the variable header."""
    points = POINTS | {OLD_HYPERCALL.name: OLD_HYPERCALL}
    values = {"valid_bank_mask": 3, "format": 0, "address_space": 0x1000, "flags": 0}
    entries = [
        Entry(1000, 7, 0, "kvm_hv_hypercall", {"code": 0x13, "ingpa": 0x5000}),
        Entry(1001, 7, 0, "kvm_hv_flush_tlb_ex", values),
        Entry(1002, 7, 0, "kvm_hv_hypercall_done", {"result": 0}),
    ]
    trace = KvmTrace(io.BytesIO(ftrace(entries, points, digits=9)), "trace")
    assert rules_of(checked(list(trace.events()))) == []


def msr(index: int, value: int) -> tuple[str, dict[str, int]]:
    return ("kvm_msr", {"write": 1, "ecx": index, "data": value})


def test_a_call_that_kvm_served_was_made_with_an_os_id() -> None:
    """KVM takes others for calls of its own; so the write was another guest's."""
    good = call(**FAST_IPI)
    start = [msr(0x40000000, 1), msr(0x40000001, 0x5001)]
    assert found_in(*start, *good) == []
    assert found_in(msr(0x40000000, 0), *good, *good) == []
    assert found_in(*start, msr(0x40000000, 0), msr(0x40000001, 0), *good) == []
    assert found_in(*start, msr(0x40000001, 0x5000), *good) == [("disabled-interface", 1)]


def test_what_a_trace_of_kvm_does_not_tell_is_said() -> None:
    told = lacking(checked(list(host(*call(**FAST_IPI), *call(code=0x5C, ingpa=0x5000)).events())))
    assert "stale-translation" in told["the translations that processors keep"]
    assert "uninitialised-input" in told["the machine while it runs"]
    assert told["what CPUID recommends"] == ("unrecommended-call", "unused-recommendation")
    assert (
        "empty-processor-set"
        in told["the contents of parameters in memory and XMM registers (1 of 2 calls)"]
    )
    assert any("enable" in reason for reason in told)
    without = lacking(checked(list(host(*call(None, **FAST_IPI)).events())))
    assert without["the results of calls (1 of 1 calls)"] == (
        "missing-privilege",
        "unknown-call",
        "hopeless-retry",
    )


def test_each_rule_is_checked_or_named_once_as_not_checked() -> None:
    checks = checked(list(host(*call(**FAST_IPI)).events()))
    named = [rule for each in checks.unchecked if not each.in_part for rule in each.rules]
    assert len(named) == len(set(named))
    assert {rule.name for rule in RULES} - {rule.name for rule in named} == {
        *("parameter-overlap", "parameter-alignment", "parameter-page-crossing"),
        *("reserved-bits", "layout-of-other-form", "empty-processor-set"),
        *("slow-form", "oversized-flush", "missing-privilege", "unknown-call", "hopeless-retry"),
    }


def test_a_whole_trace_dat_is_checked(tmp_path: Path) -> None:
    entries = [
        Entry(1000, 7, 0, "kvm_hv_hypercall", FAST_IPI | {"outgpa": 0}),
        Entry(1001, 7, 0, "kvm_hv_hypercall_done", {"result": 5}),
    ]
    path = tmp_path / "trace.dat"
    path.write_bytes(trace_dat(entries))
    assert [each.rule.name for each in offline_findings(open_kvm_trace(path).events(), KVM)] == [
        "empty-processor-set"
    ]


# --- runs that were checked as they ran -----------------------------------------------------------

RAN = RunDescription(source="hypercall", checks="on")
EMPTY = event(0x2, 0x5000, 0, struct.pack("<3Q", 0x1000, 0, 0), site=0x2222)
EMPTY_FOUND = FindingEvent(
    Position(0, 0, 0, 0x2000, 0x2222),
    "empty-processor-set",
    "warning",
    "HvCallFlushVirtualAddressSpace names no processor.",
    b"\x90",
    0x2222,
)


def test_what_was_found_as_it_ran_is_taken_over_and_counted() -> None:
    spin = FindingEvent(Position(9, 1, 0, 0x3000), "spin-without-notify", "advice", "It spun.")
    checks = checked([EMPTY, EMPTY_FOUND, EMPTY, spin, EMPTY], RAN)
    assert rules_of(checks) == [("empty-processor-set", 3), ("spin-without-notify", 1)]
    assert checks.findings[0].code == b"\x90"
    assert [each.rule.name for each in checks.failures] == ["empty-processor-set"]


def test_of_a_run_that_was_checked_only_translations_may_be_unchecked() -> None:
    assert list(lacking(checked([EMPTY], RAN))) == ["the translations that processors keep"]
    assert lacking(checked([EMPTY], RunDescription(checks="stale"))) == {}
    # One that says nothing of it but has findings was.
    assert len(lacking(checked([EMPTY, EMPTY_FOUND], RunDescription()))) == 1


def test_a_run_that_was_not_checked_is_checked_now() -> None:
    for checks in ("off", None):
        description = RunDescription(source="hypercall", checks=checks)
        assert rules_of(checked([EMPTY], description)) == [("empty-processor-set", 1)]
    assert rules_of(checked([EMPTY], RAN)) == []


def test_findings_are_told_when_they_are_new() -> None:
    for description, events in ((RAN, [EMPTY, EMPTY_FOUND, EMPTY]), (KVM, [EMPTY, EMPTY])):
        new: list[Finding] = []
        checks = RecordedChecks(description, new.append)
        for each in events:
            checks.feed(each)
        assert [finding.rule.name for finding in new] == ["empty-processor-set"]


def test_a_stranger_s_findings_are_bounded_and_plain() -> None:
    def finding(number: int) -> Event:
        name = f"\x1b[2Jrule {number}"
        return FindingEvent(Position(0, 0, 0, number), name, "terrible", "x\n\x1b" * 1000)

    checks = checked([finding(number) for number in range(MOST_FINDINGS + 3)], RAN)
    assert len(checks.findings) == MOST_FINDINGS
    assert checks.left_out == 3
    first = checks.findings[0]
    assert first.rule.name == "?[2Jrule 0"
    assert first.rule.severity.value == "warning"
    assert first.text == ("x??" * 1000)[:1000]


def test_interrupts_without_any_recorded_call_are_no_unused_recommendation() -> None:
    """A trace may have been told to hold MSRs alone."""
    sent: list[Event] = [
        MsrEvent(Position(number, 0, 0, 0x1000), 0x40000071, 0x40, write=True)
        for number in range(20)
    ]
    description = RunDescription(source="hypercall", recommendations=1 << 10)
    assert rules_of(checked(sent, description)) == []
    assert rules_of(checked([*sent, event(0x1_0008)], description)) == [
        ("unused-recommendation", 1)
    ]
