from hypercall.partition.debug_channel import DebugChannel


def test_posts_are_all_or_nothing() -> None:
    channel = DebugChannel(capacity=8)
    assert channel.post(b"12345")
    assert not channel.post(b"6789")
    assert channel.outgoing_count == 5
    assert channel.post_part(b"6789") == 3
    assert channel.receive(2) == b"12"
    assert channel.receive() == b"345678"
    assert channel.receive() == b""


def test_the_debugger_sends_what_there_is_room_for() -> None:
    channel = DebugChannel(capacity=4)
    assert channel.send(b"abcdef") == 4
    assert channel.room == 0
    assert channel.retrieve(3) == b"abc"
    assert channel.incoming_count == 1
    assert channel.send(b"") == 0


def test_activity_is_what_came_since_it_was_last_asked() -> None:
    channel = DebugChannel()
    assert not channel.take_activity()
    channel.send(b"x")
    channel.retrieve(1)
    assert channel.take_activity()
    assert not channel.take_activity()


def test_purge_drops_what_it_names() -> None:
    channel = DebugChannel()
    assert not channel.purge(incoming=True, outgoing=True)
    channel.send(b"in")
    channel.post(b"out")
    assert channel.purge(incoming=True, outgoing=False)
    assert (channel.incoming_count, channel.outgoing_count) == (0, 3)
    assert channel.purge(incoming=True, outgoing=True)
    assert channel.receive() == b""


def test_listeners_hear_of_every_change_of_what_came() -> None:
    channel = DebugChannel()
    counts: list[int] = []
    channel.listeners.append(lambda: counts.append(channel.incoming_count))
    channel.send(b"abc")
    channel.retrieve(2)
    channel.retrieve(0)
    channel.purge(incoming=True, outgoing=True)
    assert counts == [3, 1, 0]


def test_a_reset_keeps_what_the_debugger_has_not_taken() -> None:
    channel = DebugChannel()
    channel.post(b"last words")
    channel.send(b"late")
    channel.reset()
    assert channel.incoming_count == 0
    assert not channel.take_activity()
    assert channel.receive() == b"last words"


def test_a_capacity_that_became_less() -> None:
    channel = DebugChannel(8)
    full: list[bool] = []
    channel.on_full = lambda: full.append(True)
    assert channel.post(b"12345678")
    assert channel.send(b"abcdef") == 6
    channel.capacity = 4
    assert not channel.post(b"9")
    assert channel.post_part(b"9") == 0
    assert channel.room == 0
    assert full == [True, True]
    assert channel.receive() == b"12345678"
    assert channel.post_part(b"123456") == 4
    assert full == [True] * 3
