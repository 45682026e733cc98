"""Random calls from VTL 0, 1 and 2; script/random-calls makes many more of them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.guests.random_calls.code import MESSAGE_SINT
from tests.guests.random_calls.invariants import BrokenInvariantError
from tests.guests.random_calls.run import RECORDS, RandomRun, run_apart

from hypercall.cpu.unicorn.memory_map import MemoryMap
from hypercall.machine.processors import Processors
from hypercall.partition.memory_hints import MemoryHints
from hypercall.partition.nested_translation import NestedSpace
from hypercall.partition.synic import QueuedMessage, Synic

CALLS = 20_000


@pytest.mark.parametrize("seed", range(4))
def test_what_must_hold_holds_after_each_call(seed: int) -> None:
    numbers = run_apart(seed, CALLS, timeout=120)
    made = [numbers[f"vtl_{vtl}"] for vtl in RECORDS]
    assert sum(made) >= CALLS
    assert min(made) > CALLS // 20
    assert min(numbers[name] for name in ("messages", "flushes", "intercepts")) > 50


def _nothing(*arguments: Any, **named: Any) -> None:
    """Do nothing in place of what should be done."""


def _twice(self: Synic, sint: int, message: QueuedMessage) -> None:
    queue_message(self, sint, message)
    if sint == MESSAGE_SINT:
        queue_message(self, sint, replace(message, released=None))


queue_message = Synic.queue_message


def _yes(*arguments: Any) -> bool:
    return True


@pytest.mark.parametrize(
    ("where", "name", "fault", "seen"),
    [
        pytest.param(
            MemoryHints, "_may_write", _yes, "page has changed", id="discards-are-not-checked"
        ),
        pytest.param(
            MemoryMap, "protection_changed", _nothing, "may reach", id="tables-are-not-changed"
        ),
        pytest.param(Synic, "queue_message", _twice, "came 2 times", id="messages-come-twice"),
        pytest.param(Synic, "scan_queues", _nothing, "lost", id="messages-do-not-come"),
        pytest.param(NestedSpace, "flush", _nothing, "remembers", id="nothing-is-flushed"),
        pytest.param(Processors, "resume", _nothing, "lost", id="nobody-is-woken"),
    ],
)
def test_the_checks_see_faults(
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    name: str,
    fault: Callable[..., Any],
    seen: str,
) -> None:
    monkeypatch.setattr(where, name, fault)
    with pytest.raises(BrokenInvariantError, match=seen):
        _run()


def _run() -> None:
    for seed in range(3):
        random_run = RandomRun(seed)
        for _ in range(4):
            random_run.tables()
