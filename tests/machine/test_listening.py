import socket
import stat
from pathlib import Path

import pytest

from hypercall.machine.listening import LOOPBACK, listen_tcp, listen_unix, place_of, reason_of


def test_tcp_listens_at_a_free_port_and_tells_which() -> None:
    with listen_tcp(LOOPBACK, 0) as listener:
        host, port = place_of(listener).split(":")
        assert host == LOOPBACK
        socket.create_connection((host, int(port))).close()


def test_a_unix_socket_is_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listen_unix(path).close()
    # What an earlier run has left behind is replaced.
    with listen_unix(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(OSError, match="in use"):
            listen_unix(path)


def test_no_name_is_no_place() -> None:
    with pytest.raises(OSError, match="no name") as caught:
        listen_tcp("a" * 70 + ".example", 0)
    assert reason_of(caught.value) == "the host's name is no name"
