import pytest

from hypercall.errors import InputError
from hypercall.faults.judgement import Baseline, Outcome
from hypercall.machine.result import RunResult, StopReason

CONSOLE = b"[    0.100000] booting\r\nworkload done\r\n[    4.712345] reboot: Power down\r\n"
SHORT = CONSOLE.replace(b"workload done\r\n", b"")
OFF = RunResult(StopReason.POWER_OFF)


@pytest.mark.parametrize(
    ("result", "console", "outcome", "detail"),
    [
        (OFF, CONSOLE, Outcome.SURVIVED, ""),
        # Time stamps differ, and what comes between is not compared.
        (
            OFF,
            b"[ 9.0] more\nworkload done\n[    5.9][   T1] reboot: Power down\n",
            Outcome.SURVIVED,
            "",
        ),
        (
            OFF,
            b"[ 9.0] WARNING: CPU: 1 at x\n" + CONSOLE,
            Outcome.SURVIVED,
            "complained: WARNING: CPU: 1 at x",
        ),
        (OFF, SHORT, Outcome.CORRUPTED, "the console lacks 'workload done'"),
        (OFF, b"workload done\n", Outcome.CORRUPTED, "the console lacks 'reboot: Power down'"),
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
    verdict = Baseline(OFF, CONSOLE).judge(result, console)
    assert (verdict.outcome, verdict.detail) == (outcome, detail)


def test_what_is_expected_takes_the_place_of_the_last_lines() -> None:
    baseline = Baseline(OFF, CONSOLE, ["load done"])
    assert baseline.judge(OFF, b"my workload done too\n").outcome is Outcome.SURVIVED
    assert baseline.judge(OFF, SHORT).detail == "the console lacks 'load done'"


def test_the_users_own_check() -> None:
    verdict = Baseline(OFF, CONSOLE).judge(OFF, CONSOLE, "page 7 differs")
    assert (verdict.outcome, verdict.detail) == (Outcome.CORRUPTED, "page 7 differs")


def test_a_silent_guest_needs_no_console() -> None:
    passed = RunResult(StopReason.DEBUG_EXIT, 0)
    assert Baseline(passed, b"").judge(passed, b"").outcome is Outcome.SURVIVED


def test_a_complaint_that_is_always_there_is_none() -> None:
    console = b"[ 1.0] WARNING: old\n" + CONSOLE
    assert Baseline(OFF, console).judge(OFF, console).detail == ""


@pytest.mark.parametrize(
    ("result", "expected", "complaint"),
    [
        (RunResult(StopReason.LIMIT), [], r"does not end well \(limit\)"),
        (RunResult(StopReason.DEBUG_EXIT, 1), [], "debug exit with the value 1"),
        (RunResult(StopReason.PANIC, detail="no init"), [], "panic: no init"),
        (OFF, ["all tests passed"], "even without faults the console has no 'all tests passed'"),
    ],
)
def test_a_guest_that_fails_anyway(result: RunResult, expected: list[str], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        Baseline(result, CONSOLE, expected)
