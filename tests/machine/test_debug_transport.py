import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hypercall.errors import InputError
from hypercall.machine.debug_transport import (
    DebugChannelSpecification,
    SocketTransport,
    open_debug_transport,
    parse_debug_channel,
)
from hypercall.partition.debug_channel import CAPACITY, DebugChannel

PATIENCE = 5.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp:5000", DebugChannelSpecification("tcp", host="127.0.0.1", port=5000)),
        ("tcp::5000", DebugChannelSpecification("tcp", host="127.0.0.1", port=5000)),
        ("tcp:0.0.0.0:0", DebugChannelSpecification("tcp", host="0.0.0.0", port=0)),
        ("tcp:[::1]:80", DebugChannelSpecification("tcp", host="::1", port=80)),
        ("unix:/tmp/a:b", DebugChannelSpecification("unix", Path("/tmp/a:b"))),
        ("file:out.bin", DebugChannelSpecification("file", Path("out.bin"))),
    ],
)
def test_specifications(text: str, expected: DebugChannelSpecification) -> None:
    assert parse_debug_channel(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "tcp", "tcp:", "tcp:host", "tcp:1:2:3", "tcp:65536", "tcp:-1", "unix:", "file:", "udp:5"],
)
def test_bad_specifications(text: str) -> None:
    with pytest.raises(InputError, match="tcp:PORT, tcp:HOST:PORT, unix:PATH or file:PATH"):
        parse_debug_channel(text)


def until(transport: SocketTransport, condition: Callable[[], bool]) -> None:
    """Poll as a machine does, until a condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "the other end did not get it"
        transport.poll(0.01)


def open_socket(text: str, channel: DebugChannel) -> SocketTransport:
    transport = open_debug_transport(text, channel)
    assert isinstance(transport, SocketTransport)
    return transport


def connect(transport: SocketTransport) -> socket.socket:
    if ":" in transport.place:
        host, _, port = transport.place.rpartition(":")
        return socket.create_connection((host, int(port)), PATIENCE)
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(PATIENCE)
    peer.connect(transport.place)
    return peer


@pytest.fixture(params=["tcp:0", "unix"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    text: str = request.param
    return text if text != "unix" else f"unix:{tmp_path / 'socket'}"


def test_bytes_go_both_ways(place: str) -> None:
    channel = DebugChannel()
    transport = open_socket(place, channel)
    channel.post(b"before anybody listens, ")
    transport.poll()
    assert channel.outgoing_count
    with connect(transport) as peer:
        until(transport, lambda: transport.connected)
        channel.post(b"and after")
        until(transport, lambda: not channel.outgoing_count)
        assert peer.recv(100).startswith(b"before anybody listens, ")
        peer.sendall(b"hello guest")
        until(transport, lambda: channel.incoming_count == 11)
        assert channel.retrieve(100) == b"hello guest"
    transport.close()


def test_tcp_listens_on_the_loopback_interface_and_says_where() -> None:
    channel = DebugChannel()
    transport = open_socket("tcp:0", channel)
    host, _, port = transport.place.partition(":")
    assert host == "127.0.0.1"
    assert channel.addresses.host == 0x7F000001
    assert channel.addresses.host_port == channel.addresses.target_port == int(port)
    transport.close()


def test_a_full_channel_leaves_the_rest_in_the_socket(place: str) -> None:
    channel = DebugChannel()
    transport = open_socket(place, channel)
    with connect(transport) as peer:
        peer.sendall(bytes(CAPACITY))
        until(transport, lambda: not channel.room)
        peer.sendall(b"more")
        assert not transport.poll(0.02)
        channel.retrieve(10)
        until(transport, lambda: channel.incoming_count == CAPACITY - 6)
    transport.close()


def test_a_second_debugger_comes_when_the_first_has_gone(place: str) -> None:
    channel = DebugChannel()
    transport = open_socket(place, channel)
    connect(transport).close()
    until(transport, lambda: not transport.connected)
    time.sleep(0.002)
    transport.poll()
    channel.post(b"for whoever is there")
    with connect(transport) as peer:
        until(transport, lambda: not channel.outgoing_count)
        assert peer.recv(100) == b"for whoever is there"
    transport.close()


def test_waiting_ends_with_data_or_the_time() -> None:
    channel = DebugChannel()
    transport = open_socket("tcp:0", channel)
    started = time.monotonic()
    assert not transport.poll(0.05)
    assert time.monotonic() - started >= 0.05
    with connect(transport) as peer:
        peer.sendall(b"x")
        assert transport.poll(PATIENCE)
    transport.close()


def test_closing_sends_what_is_left(place: str) -> None:
    channel = DebugChannel()
    transport = open_socket(place, channel)
    with connect(transport) as peer:
        until(transport, lambda: transport.connected)
        channel.post(b"last words")
        transport.close()
        transport.close()
        assert peer.recv(100) == b"last words"
        assert peer.recv(100) == b""


def test_a_unix_socket_is_the_users_own_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    transport = open_debug_transport(f"unix:{path}", DebugChannel())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InputError, match="address already in use"):
        open_debug_transport(f"unix:{path}", DebugChannel())
    transport.close()
    assert not path.exists()


def test_an_abandoned_unix_socket_is_replaced_but_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as abandoned:
        abandoned.bind(str(path))
    open_debug_transport(f"unix:{path}", DebugChannel()).close()
    path.write_text("precious")
    with pytest.raises(InputError, match="choose another place"):
        open_debug_transport(f"unix:{path}", DebugChannel())
    assert path.read_text() == "precious"


def test_a_file_gets_what_the_guest_posts(tmp_path: Path) -> None:
    channel = DebugChannel()
    path = tmp_path / "out"
    transport = open_debug_transport(f"file:{path}", channel)
    assert not transport.receives
    channel.post(b"one ")
    assert not transport.poll(10.0)
    assert path.read_bytes() == b"one "
    channel.post(b"two")
    transport.close()
    transport.close()
    assert path.read_bytes() == b"one two"


def test_places_that_cannot_be_had(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"tcp:{port}: address already in use"):
            open_debug_transport(f"tcp:{port}", DebugChannel())
    for text in (f"file:{tmp_path}", f"unix:{tmp_path}/none/socket", "tcp:256.1.1.1:5000"):
        with pytest.raises(InputError, match="cannot be had"):
            open_debug_transport(text, DebugChannel())


def test_a_full_disk() -> None:
    channel = DebugChannel()
    transport = open_debug_transport("file:/dev/full", channel)
    channel.post(b"x")
    with pytest.raises(InputError, match="no space left"):
        transport.poll()
    transport.close()
