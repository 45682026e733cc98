import socket
from pathlib import Path

import pytest

from hypercall.errors import InputError
from hypercall.gdb.place import Place


@pytest.mark.parametrize("text", [":0", "0", "tcp::0", "127.0.0.1:0"])
def test_tcp_is_on_the_loopback_interface(text: str) -> None:
    listener, name = Place(text).listen()
    with listener:
        assert name.startswith("127.0.0.1:")
        assert not name.endswith(":0")


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "gdb"
    place = Place(f"unix:{path}")
    listener, name = place.listen()
    with listener:
        assert name == str(path)
        assert place.path == path


@pytest.mark.parametrize(
    "text", ["", ":", "host", ":x", ":65536", ":123456", "unix:", "a:b:1", "-1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="give :PORT, HOST:PORT or unix:PATH"):
        Place(text)


def test_a_place_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=rf"served at :{port}: .*; choose another place"):
            Place(f":{port}").listen()
