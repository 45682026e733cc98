"""Real processes, without a machine."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hypercall.faults.children import Children

Report = dict[str, Any] | str


def run(
    count: int, work: Callable[[int], dict[str, Any]], jobs: int = 2, timeout: float = 60
) -> tuple[dict[int, Report], list[int]]:
    """What the parent hears of each child, and how many ran whenever one was made."""
    heard: dict[int, Report] = {}
    running = []
    children = Children(jobs, timeout, heard.__setitem__)
    try:
        for number in range(count):
            if children.fork(number):
                children.report(work(number))
            running.append(children.running)
        children.finish()
    finally:
        if children.own is not None:
            os._exit(70)
        children.end()
    assert children.running == 0
    return heard, running


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_each_child_reports_for_itself(jobs: int) -> None:
    heard, running = run(6, lambda number: {"square": number * number}, jobs)
    assert heard == {number: {"square": number * number} for number in range(6)}
    assert max(running) <= jobs


def test_a_long_report_comes_whole() -> None:
    heard, _ = run(2, lambda number: {"text": "x" * 300_000})
    assert all(report == {"text": "x" * 300_000} for report in heard.values())


def test_a_child_that_dies() -> None:
    def work(number: int) -> dict[str, Any]:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 2:
            os._exit(0)
        return {"fine": number}

    heard, _ = run(4, work)
    assert heard == {
        0: {"fine": 0},
        1: "the process was ended by SIGKILL",
        2: "the process ended without a report",
        3: {"fine": 3},
    }


def test_a_child_that_does_not_end_is_ended() -> None:
    def work(number: int) -> dict[str, Any]:
        if number == 0:
            signal.pause()
        return {}

    heard, _ = run(2, work, timeout=0.3)
    assert heard == {0: "no end after 0.3 s of host time", 1: {}}


def test_a_child_writes_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    def work(number: int) -> dict[str, Any]:
        os.write(1, b"to the output\n")
        os.write(2, b"to the error\n")
        return {"input": os.read(0, 10).decode()}

    heard, _ = run(1, work)
    assert heard == {0: {"input": ""}}
    assert capfd.readouterr() == ("", "")


def test_who_waits_can_be_stopped() -> None:
    heard: dict[int, Report] = {}
    children = Children(1, 60, heard.__setitem__)
    before = signal.signal(signal.SIGALRM, lambda *_: children.stop())
    try:
        if children.fork(0):
            signal.pause()
            os._exit(1)
        # The second one waits for room, which only the signal gives it.
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert not children.fork(1)
        assert children.running == 1
        children.finish()
        assert children.running == 1
    finally:
        signal.signal(signal.SIGALRM, before)
        children.end()
    assert heard == {}


def test_a_signal_to_all_is_the_parents_affair() -> None:
    def work(number: int) -> dict[str, Any]:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), each)
        return {"alive": number}

    assert run(1, work)[0] == {0: {"alive": 0}}


def test_a_child_knows_that_its_parent_is_gone() -> None:
    reading, writing = os.pipe()
    middle = os.fork()
    if not middle:
        children = Children(1, 60, lambda number, report: None)
        if not children.fork(0):
            os._exit(0)
        while not children.orphaned:
            time.sleep(0.01)
        os.write(writing, b"orphaned")
        os._exit(0)
    os.waitpid(middle, 0)
    os.close(writing)
    assert os.read(reading, 100) == b"orphaned"
    os.close(reading)


def processes() -> str:
    """The children of this process; snapshots of other tests may be among them."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


def test_those_that_run_can_be_ended() -> None:
    before = processes()
    children = Children(2, 60, lambda number, report: None)
    if children.fork(0):
        signal.pause()
        os._exit(1)
    assert processes() != before
    children.end()
    assert children.running == 0
    assert processes() == before
