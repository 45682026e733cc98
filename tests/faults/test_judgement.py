from dataclasses import replace

import pytest

from hypercall.errors import InputError
from hypercall.faults.judgement import Baseline, Ending, Outcome
from hypercall.machine.result import RunResult, StopReason

CONSOLE = (
    b"[    0.100000] booting\r\nstarting 3 tests\r\n[    4.1] virtio0: up\r\n"
    b"workload done\r\n[    4.712345] reboot: Power down\r\n"
)
SHORT = CONSOLE.replace(b"workload done\r\n", b"")
OFF = RunResult(StopReason.POWER_OFF, virtual_ns=1_000_000_000)
GOOD = Ending(OFF, CONSOLE)


@pytest.mark.parametrize(
    ("result", "console", "outcome", "detail"),
    [
        (OFF, CONSOLE, Outcome.SURVIVED, ""),
        # Time stamps and numbers differ.
        (
            OFF,
            b"starting 4 tests\nworkload done\n[    5.9][   T1] reboot: Power down\n",
            Outcome.SURVIVED,
            "",
        ),
        # The kernel has written in the middle of the user's line.
        (
            OFF,
            CONSOLE.replace(b"workload", b"work[ 4.2] virtio7: up\nload"),
            Outcome.SURVIVED,
            "",
        ),
        (
            replace(OFF, virtual_ns=2_500_000_000),
            b"[ 9.0] hv: call failed: -22\n" + CONSOLE,
            Outcome.SURVIVED,
            "says: hv: call failed: -22; took 2.5 times as long",
        ),
        (
            OFF,
            b"[ 9.0] WARNING: CPU: 1 at x\n" + CONSOLE,
            Outcome.COMPLAINED,
            "WARNING: CPU: 1 at x",
        ),
        (
            OFF,
            b"[ 9.0] task:init state:D stack:0 pid:1\n" + CONSOLE,
            Outcome.COMPLAINED,
            "task:init state:D stack:0 pid:1",
        ),
        (
            OFF,
            b"[ 9.0] watchdog: BUG: soft lockup - CPU#1 stuck\n" + CONSOLE,
            Outcome.COMPLAINED,
            "watchdog: BUG: soft lockup - CPU#1 stuck",
        ),
        (
            OFF,
            b"[ 9.0] BUG: kernel NULL pointer dereference\n" + CONSOLE,
            Outcome.CORRUPTED,
            "BUG: kernel NULL pointer dereference",
        ),
        (
            OFF,
            b"[ 9.0] sh[12]: segfault at 8\n" + CONSOLE,
            Outcome.CORRUPTED,
            "sh[12]: segfault at 8",
        ),
        (OFF, SHORT, Outcome.CORRUPTED, "the console lacks 'workload done'"),
        (
            OFF,
            CONSOLE.replace(b"starting", b"stopping"),
            Outcome.CORRUPTED,
            "the console lacks 'starting 3 tests'",
        ),
        (
            OFF,
            b"starting 3 tests\nworkload done\n",
            Outcome.CORRUPTED,
            "the console lacks 'reboot: Power down'",
        ),
        (
            RunResult(StopReason.PANIC, detail="Kernel panic - not syncing"),
            CONSOLE,
            Outcome.PANICKED,
            "Kernel panic - not syncing",
        ),
        (RunResult(StopReason.TRIPLE_FAULT), CONSOLE, Outcome.PANICKED, "triple fault"),
        (RunResult(StopReason.LIMIT), CONSOLE, Outcome.HUNG, "limit"),
        (RunResult(StopReason.DEADLOCK), CONSOLE, Outcome.HUNG, "deadlock"),
        (
            RunResult(StopReason.LIMIT),
            b"[ 1.0] rcu: INFO: rcu_sched detected stalls\n",
            Outcome.HUNG,
            "rcu: INFO: rcu_sched detected stalls",
        ),
        (RunResult(StopReason.RESET), CONSOLE, Outcome.CORRUPTED, "reset"),
        (
            RunResult(StopReason.DEBUG_EXIT, 3),
            CONSOLE,
            Outcome.CORRUPTED,
            "debug exit with the value 3",
        ),
    ],
)
def test_how_a_run_went(result: RunResult, console: bytes, outcome: Outcome, detail: str) -> None:
    verdict = Baseline(GOOD).judge(Ending(result, console))
    assert (verdict.outcome, verdict.detail) == (outcome, detail)


def test_a_run_that_goes_on_from_a_snapshot_is_no_longer_than_its_own_part() -> None:
    later = [
        Ending(replace(OFF, virtual_ns=10_000_000_000 + part), CONSOLE)
        for part in (1_000_000_000, 2_000_000_000)
    ]
    assert Baseline(later[0]).judge(later[1]).detail == ""
    baseline = Baseline(later[0], start_ns=10_000_000_000)
    assert baseline.judge(later[1]).detail == "took 2.0 times as long"


def test_where_a_guest_hangs() -> None:
    hung = Ending(RunResult(StopReason.DEADLOCK), CONSOLE, places="VP 0 halted in idle+0x1")
    assert Baseline(GOOD).judge(hung).detail == "deadlock; VP 0 halted in idle+0x1"


def test_what_is_expected_takes_the_place_of_the_lines() -> None:
    baseline = Baseline(GOOD, ["load done"])
    assert baseline.judge(Ending(OFF, b"my workload done too\n")).outcome is Outcome.SURVIVED
    assert baseline.judge(Ending(OFF, SHORT)).detail == "the console lacks 'load done'"


def test_a_line_that_is_there_twice_must_be_there_twice() -> None:
    twice = Ending(OFF, b"test 1 passed\ntest 2 passed\n")
    verdict = Baseline(twice).judge(Ending(OFF, b"test 2 passed\n"))
    assert verdict.detail == "the console lacks 'test 2 passed'"


def test_of_a_kernel_without_time_stamps_only_the_last_line_counts() -> None:
    console = b"Linux version 6.1\nhv: fine\nreboot: Power down\n"
    baseline = Baseline(Ending(OFF, console))
    other = console.replace(b"fine", b"bad")
    assert baseline.judge(Ending(OFF, other)).outcome is Outcome.SURVIVED
    assert baseline.judge(Ending(OFF, b"hv: fine\n")).outcome is Outcome.CORRUPTED


def test_the_users_own_check() -> None:
    verdict = Baseline(GOOD).judge(replace(GOOD, complaint="page 7 differs"))
    assert (verdict.outcome, verdict.detail) == (Outcome.CORRUPTED, "page 7 differs")


def test_findings_of_the_checks() -> None:
    baseline = Baseline(replace(GOOD, findings=("slow-form in f+0x1",), damage=("stale in g",)))
    same = replace(GOOD, findings=("slow-form in f+0x1",), damage=("stale in g",))
    assert baseline.judge(same).outcome is Outcome.SURVIVED
    verdict = baseline.judge(replace(same, findings=("ignored-status in h",)))
    assert (verdict.outcome, verdict.detail) == (Outcome.COMPLAINED, "ignored-status in h")
    verdict = baseline.judge(replace(same, damage=("stale in k",)))
    assert (verdict.outcome, verdict.detail) == (Outcome.CORRUPTED, "stale in k")


def test_a_silent_guest_needs_no_console() -> None:
    passed = Ending(RunResult(StopReason.DEBUG_EXIT, 0))
    assert Baseline(passed).judge(passed).outcome is Outcome.SURVIVED


def test_a_complaint_that_is_always_there_is_none() -> None:
    ending = Ending(OFF, b"[ 1.0] WARNING: old\n" + CONSOLE)
    assert Baseline(ending).judge(ending).detail == ""


@pytest.mark.parametrize(
    ("ending", "expected", "complaint"),
    [
        (Ending(RunResult(StopReason.LIMIT)), [], r"does not end well \(limit\)"),
        (Ending(RunResult(StopReason.DEBUG_EXIT, 1)), [], "debug exit with the value 1"),
        (Ending(RunResult(StopReason.PANIC, detail="no init")), [], "panic: no init"),
        (Ending(OFF, complaint="always"), [], "even without faults the check complains: always"),
        (GOOD, ["all tests passed"], "even without faults the console has no 'all tests passed'"),
    ],
)
def test_a_guest_that_fails_anyway(ending: Ending, expected: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Baseline(ending, expected)
