import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hypercall.gdb.connection import Connection
from hypercall.gdb.packets import MOST_PAYLOAD, Signal, frame
from hypercall.gdb.place import Place


@pytest.fixture
def connection() -> Iterator[Connection]:
    made = Connection(Place(":0"))
    yield made
    made.close()


def connect(connection: Connection) -> socket.socket:
    host, port = connection.place.split(":")
    peer = socket.create_connection((host, int(port)), timeout=5)
    assert connection.wait(5)
    assert connection.new
    connection.new = False
    return peer


def test_packets_are_acknowledged_until_they_need_not_be(connection: Connection) -> None:
    with connect(connection) as peer:
        peer.sendall(b"$g#67$g#00")
        assert connection.wait(5)
        assert connection.take() == b"g"
        assert connection.take() is None
        assert peer.recv(2) == b"+-"
        connection.acknowledges = False
        peer.sendall(b"$?#3f")
        assert connection.wait(5)
        assert connection.take() == b"?"
        connection.send(b"OK")
        assert peer.recv(10) == b"$OK#9a"
        peer.sendall(b"-")
        assert connection.wait(5)
        assert connection.take() is Signal.REPEAT
        connection.repeat()
        assert peer.recv(10) == b"$OK#9a"


def test_only_ctrl_c_and_a_new_gdb_stop_a_guest_that_runs(connection: Connection) -> None:
    def polled() -> bool:
        for _ in range(50):
            time.sleep(0.003)
            if connection.poll():
                return True
        return False

    host, port = connection.place.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as peer:
        assert polled()
        connection.new = False
        peer.sendall(b"+$g#67")
        assert not polled()
        peer.sendall(b"\x03")
        assert polled()
        connection.drop_signals()
        assert not connection.poll()
        assert connection.take() == b"g"


def test_when_gdb_goes_another_one_can_come(connection: Connection) -> None:
    connect(connection).close()
    deadline = time.monotonic() + 5
    while connection.connected and time.monotonic() < deadline:
        connection.wait(0.01)
    assert not connection.connected
    with connect(connection) as peer:
        peer.sendall(b"$?#3f")
        assert connection.wait(5)
        assert connection.take() == b"?"


def test_a_flood_takes_no_memory(connection: Connection) -> None:
    with connect(connection) as peer:
        connection.acknowledges = False
        peer.sendall(frame(b"?") * 1000)
        peer.sendall(b"$" + b"x" * (4 * MOST_PAYLOAD) + b"#00")
        assert connection.wait(5)
        waiting = len(connection._items)
        assert 0 < waiting <= 64
        while connection.wait(0.1):
            assert connection.take() == b"?"
        peer.sendall(frame(b"last"))
        assert connection.wait(5)
        assert connection.take() == b"last"


def test_the_unix_socket_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    made = Connection(Place(f"unix:{path}"))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        assert made.wait(5)
    made.close()
    assert not path.exists()
