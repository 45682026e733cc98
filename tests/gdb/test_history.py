from collections.abc import Iterator

import pytest
from tests.gdb.guest import COUNTER, TICK, TICKS, make_machine

from hypercall.errors import HypercallError
from hypercall.gdb.history import Called, History
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.debugging import Access, StopKind, Watchpoint
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.snapshot.snapshot import Snapshot
from hypercall.tlfs.registers import RegisterName
from hypercall.trace.events import Event, HypercallEvent
from hypercall.trace.statistics import Statistics

LIMIT_NS = 200_000_000


class Past:
    """A machine with its history, and what its guest looks like."""

    def __init__(self, cpus: int) -> None:
        self.machine = make_machine(cpus)
        self.calls = Statistics()
        self.calls.attach(self.machine.trace)
        self.events: list[Event] = []
        self.machine.trace.subscribe(self.events.append)
        self.called = False
        self.history = History(self.machine, self.calls, lambda: self.called)
        self.history.begin()

    def go(self, *breakpoints: int) -> StopReason:
        """Run to a breakpoint, with snapshots on the way."""
        self.machine.debugging.breakpoints = frozenset(breakpoints)
        self.history._next_mark = 0.0
        while True:
            result = self.machine.run(LIMIT_NS, until=self.history.due)
            self.history.keep()
            if result.reason is not StopReason.UNTIL:
                self.machine.debugging.breakpoints = frozenset()
                return result.reason

    def look(self, vp: VirtualProcessor) -> tuple[object, ...]:
        """Everything that makes up a moment, for one processor."""
        return (
            self.machine.debugging.position,
            self.machine.registers(vp.index),
            self.machine.partition.memory.read(COUNTER, 4),
            self.calls.total,
        )


@pytest.fixture(params=[1, 2])
def past(request: pytest.FixtureRequest) -> Iterator[Past]:
    made = Past(request.param)
    yield made
    made.history.close()


def steps(past: Past, vp: VirtualProcessor, count: int) -> list[tuple[object, ...]]:
    """Step forward; return what each moment looked like, from the present one on."""
    seen = [past.look(vp)]
    for _ in range(count):
        past.machine.debugging.step(vp)
        assert past.machine.run(LIMIT_NS).reason is StopReason.DEBUGGER
        seen.append(past.look(vp))
    return seen


def test_steps_back_retrace_steps_forward(past: Past) -> None:
    for _ in range(4):
        assert past.go(TICK) is StopReason.DEBUGGER
    machine = past.machine
    vp = machine.processors.current
    seen = steps(past, vp, 16)
    for expected in reversed(seen[:-1]):
        assert past.history.step_back(vp)
        assert machine.processors.current is vp
        now = past.look(vp)
        if expected[0][1] == 1 << 64:  # type: ignore[index]
            # A step that ended with the turn was shown between two blocks.
            assert now[1:] == expected[1:]
        else:
            assert now == expected
    # And forward again, to the same end.
    assert steps(past, vp, 16)[1:] == seen[1:]


def test_a_run_that_went_back_ends_as_it_does(past: Past) -> None:
    reference = make_machine(len(past.machine.partition.processors))
    reference.run(LIMIT_NS)
    for _ in range(5):
        past.go(TICK)
    assert past.history.step_back(past.machine.processors.current)
    past.machine.debugging.breakpoints = frozenset({TICK + 5})
    assert past.history.continue_back() is not None
    past.machine.debugging.breakpoints = frozenset()
    assert past.machine.run(LIMIT_NS).reason is StopReason.DEBUG_EXIT
    assert past.machine.time_ns == reference.time_ns
    assert past.machine.partition.memory.ram == reference.partition.memory.ram


def test_breakpoints_are_found_backward_in_reverse_order(past: Past) -> None:
    debugging = past.machine.debugging
    forward = []
    while past.go(TICK) is StopReason.DEBUGGER:
        forward.append((debugging.position, past.machine.processors.current.index))
    assert len(forward) == TICKS * len(past.machine.partition.processors)
    debugging.breakpoints = frozenset({TICK})
    backward = []
    while (stop := past.history.continue_back()) is not None:
        assert stop.kind is StopKind.BREAKPOINT
        assert past.machine.processors.current is stop.vp
        backward.append((debugging.position, stop.vp.index))
    assert backward == forward[::-1]
    # Then it is at the beginning.
    assert past.machine.time_ns == 0
    assert past.calls.total == 0


def test_what_the_checks_have_found_goes_back_unheard() -> None:
    past = Past(1)
    checks = past.machine.check()
    heard: list[str] = []
    checks.on_new.append(lambda finding: heard.append(finding.rule.name))
    found = []
    while past.go(TICK) is StopReason.DEBUGGER:
        found.append([(each.rule.name, each.count) for each in checks.findings])
    assert found[1] == [("unrecommended-call", 1)]
    assert found[-1] == [("unrecommended-call", TICKS - 1)]
    past.machine.debugging.breakpoints = frozenset({TICK})
    for expected in reversed(found):
        assert past.history.continue_back() is not None
        assert [(each.rule.name, each.count) for each in checks.findings] == expected
    assert heard == ["unrecommended-call"]
    past.history.close()


def test_a_watchpoint_is_found_before_the_access(past: Past) -> None:
    past.go()
    debugging = past.machine.debugging
    debugging.watchpoints = (Watchpoint(COUNTER, 4, Access.WRITE),)
    total = TICKS * len(past.machine.partition.processors)
    for value in range(total - 1, -1, -1):
        stop = past.history.continue_back()
        assert stop is not None
        assert (stop.kind, stop.address) == (StopKind.WATCHPOINT, COUNTER)
        assert debugging.linear_pc(stop.vp) == TICK + 5
        assert past.machine.partition.memory.read_u32(COUNTER) == value
    assert past.history.continue_back() is None
    assert debugging.watchpoints


def test_there_is_nothing_before_the_beginning(past: Past) -> None:
    vp = past.machine.partition.bootstrap
    start = past.look(vp)
    assert not past.history.step_back(vp)
    assert past.history.continue_back() is None
    assert past.look(vp) == start


def test_a_new_beginning_forgets_the_past(past: Past) -> None:
    past.go(TICK)
    past.history.begin()
    here = past.machine.debugging.position
    past.go(TICK)
    past.machine.debugging.breakpoints = frozenset({TICK + 5})
    assert past.history.continue_back() is not None
    assert past.history.continue_back() is None
    assert past.machine.debugging.position == here


def test_nobody_hears_of_what_is_done_once_more(past: Past) -> None:
    said: list[bytes] = []
    past.machine.console.output.append(said.append)
    for _ in range(3):
        past.go(TICK)
    heard = len(past.events)
    past.machine.debugging.breakpoints = frozenset({TICK})
    assert past.history.continue_back() is not None
    assert len(past.events) == heard
    assert said.append in past.machine.console.output
    past.machine.debugging.breakpoints = frozenset()
    past.machine.run(LIMIT_NS)
    assert len(past.events) > heard


def test_the_user_can_interrupt_a_search(past: Past) -> None:
    past.go()
    vp = past.machine.partition.bootstrap
    before = past.look(vp)
    past.called = True
    with pytest.raises(Called):
        past.history.step_back(vp)
    with pytest.raises(Called):
        past.history.continue_back()
    past.called = False
    past.machine.interrupt()
    with pytest.raises(Called):
        past.history.step_back(vp)
    assert past.machine.interrupt_requested
    assert past.look(vp) == before


def test_another_way_than_before_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    past = Past(1)
    past.go(TICK)
    past.go(TICK)
    restore = Snapshot.restore

    def interfere(snapshot: Snapshot) -> None:
        # The guest finds another program whenever it runs once more.
        restore(snapshot)
        machine = snapshot.machine
        machine.partition.memory.write(TICK, b"\xeb\xfe")
        machine.write_register(0, RegisterName.RIP, TICK)

    monkeypatch.setattr(Snapshot, "restore", interfere)
    past.machine.debugging.breakpoints = frozenset({TICK})
    with pytest.raises(HypercallError, match="another way than before"):
        past.history._go(past.history._marks[0], past.machine.debugging.position)
    past.history.close()


def test_old_snapshots_are_given_up() -> None:
    past = Past(2)
    for _ in range(60):
        past.machine.run(past.machine.time_ns + 90)
        past.history._next_mark = 0.0
        assert past.history.due()
        past.history.keep()
    assert len(past.history._marks) == 24
    assert past.history._marks[0].position[0] == 0
    positions = [mark.position for mark in past.history._marks]
    assert positions == sorted(set(positions))
    past.history.close()


def test_a_machine_by_the_hosts_clock_has_no_past() -> None:
    machine = Machine(MachineConfiguration(time="host"))
    history = History(machine, Statistics())
    history.begin()
    assert not history.possible
    assert not history.due()
    history.keep()
    history.close()


def test_calls_are_counted_by_events() -> None:
    past = Past(1)
    past.go()
    assert past.calls.total == sum(isinstance(event, HypercallEvent) for event in past.events)
    past.history.close()
