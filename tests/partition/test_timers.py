from hypothesis import given
from hypothesis import strategies as st

from hypercall.partition.timers import TimerQueue


def test_equal_deadlines_run_in_the_order_of_scheduling() -> None:
    queue = TimerQueue()
    order: list[str] = []
    queue.schedule(20, lambda: order.append("late"))
    queue.schedule(10, lambda: order.append("first"))
    queue.schedule(10, lambda: order.append("second"))
    assert queue.next_deadline() == 10
    assert queue.run_due(20) == 3
    assert order == ["first", "second", "late"]
    assert queue.next_deadline() is None


def test_a_cancelled_callback_never_runs_and_is_not_the_next_deadline() -> None:
    queue = TimerQueue()
    ran: list[int] = []
    handle = queue.schedule(5, lambda: ran.append(5))
    queue.schedule(7, lambda: ran.append(7))
    queue.cancel(handle)
    queue.cancel(handle)
    assert not handle.active
    assert len(queue) == 1
    assert queue.next_deadline() == 7
    queue.run_due(100)
    assert ran == [7]
    queue.cancel(handle)
    assert len(queue) == 0


def test_a_callback_may_schedule_one_that_is_due_already() -> None:
    queue = TimerQueue()
    ran: list[int] = []

    def first() -> None:
        queue.schedule(2, lambda: ran.append(2))

    queue.schedule(1, first)
    assert queue.run_due(2) == 2
    assert ran == [2]


def test_rearming_does_not_grow_the_queue() -> None:
    queue = TimerQueue()
    for deadline in range(10_000):
        queue.cancel(queue.schedule(deadline, lambda: None))
    assert len(queue) == 0
    assert len(queue._heap) < 200


def test_the_machine_hears_of_an_earlier_deadline_only() -> None:
    queue = TimerQueue()
    heard: list[int | None] = []
    queue.changed = lambda: heard.append(queue.next_deadline())
    queue.schedule(10, lambda: None)
    queue.schedule(20, lambda: None)
    queue.schedule(5, lambda: None)
    assert heard == [10, 5]


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=60))
def test_every_live_callback_runs_once_in_order_of_time(entries: list[tuple[int, bool]]) -> None:
    queue = TimerQueue()
    ran: list[tuple[int, int]] = []
    handles = [
        queue.schedule(at, lambda at=at, n=n: ran.append((at, n)))  # type: ignore[misc]
        for n, (at, _) in enumerate(entries)
    ]
    for handle, (_, cancelled) in zip(handles, entries, strict=True):
        if cancelled:
            queue.cancel(handle)
    for now in range(0, 60, 7):
        queue.run_due(now)
    expected = [(at, n) for n, (at, cancelled) in enumerate(entries) if not cancelled]
    assert ran == sorted(expected)
