"""Carries a guest's debug channel to a socket or a file on the host, without threads."""

import contextlib
import ipaddress
import re
import select
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from hypercall.errors import InputError
from hypercall.machine.listening import LOOPBACK, listen_tcp, listen_unix, place_of, reason_of
from hypercall.partition.debug_channel import ConnectionAddresses, DebugChannel

_CHUNK = 1 << 16
_SECONDS_BETWEEN_POLLS = 0.001
_SECONDS_FOR_THE_REST = 1.0
_TCP = re.compile(r"(?:(\[[^\]]*\]|[^:\[\]]*):)?(\d+)")


@dataclass(frozen=True, slots=True)
class DebugChannelSpecification:
    """Where a debug channel is carried to.

    Attributes:
        kind: the kind of transport.
        path: of a file or Unix socket.
        host: the address at which TCP listens.
        port: the port at which TCP listens; 0 for any that is free.
    """

    kind: Literal["tcp", "unix", "file"]
    path: Path = Path()
    host: str = LOOPBACK
    port: int = 0


def parse_debug_channel(text: str) -> DebugChannelSpecification:
    """Read ``tcp:HOST:PORT``, ``tcp:PORT`` (loopback), ``unix:PATH`` or ``file:PATH``.

    Raises:
        InputError: the text is none of these.
    """
    kind, separator, rest = text.partition(":")
    if separator and rest:
        if kind == "unix":
            return DebugChannelSpecification("unix", Path(rest))
        if kind == "file":
            return DebugChannelSpecification("file", Path(rest))
        match = _TCP.fullmatch(rest)
        if kind == "tcp" and match is not None and len(match[2]) < 6 and int(match[2]) < 65536:
            host = (match[1] or "").strip("[]") or LOOPBACK
            return DebugChannelSpecification("tcp", host=host, port=int(match[2]))
    raise InputError(
        f"{text!r} is no place for a debug channel: give tcp:PORT, tcp:HOST:PORT, unix:PATH or "
        "file:PATH"
    )


class DebugTransport(Protocol):
    """What carries the channel.

    Attributes:
        place: where the other end finds it, for people.
        receives: whether anything can come from the other end.
    """

    place: str
    receives: bool

    def poll(self, seconds: float = 0.0) -> bool:
        """Carry what there is to carry, and wait for more from the other end if there is nothing.

        Args:
            seconds: how long it may wait at most.

        Returns:
            Whether anything came for the guest.

        Raises:
            InputError: what the guest posted cannot be written.
        """

    def flush(self) -> None:
        """Carry what the guest has posted as far as the other end takes it."""

    def close(self) -> None:
        """Carry what is left and let the place go."""


def open_debug_transport(text: str, channel: DebugChannel) -> DebugTransport:
    """Make the transport that a text asks for.

    Args:
        text: see `parse_debug_channel`.
        channel: the channel to carry.

    Raises:
        InputError: the text means nothing, or the place cannot be had.
    """
    specification = parse_debug_channel(text)
    try:
        if specification.kind == "file":
            return FileTransport(specification.path, channel)
        return SocketTransport(specification, channel)
    except OSError as error:
        raise InputError(
            f"the debug channel cannot be had at {text}: {reason_of(error)}; choose another place"
        ) from None


class FileTransport:
    """Writes what the guest posts to a file; nothing comes back.

    Args:
        path: the file, which is made anew.
        channel: the channel to carry.

    Raises:
        OSError: the file cannot be written.
    """

    receives = False

    def __init__(self, path: Path, channel: DebugChannel) -> None:
        self.place = str(path)
        self._channel = channel
        self._file = path.open("wb", buffering=0)

    def poll(self, seconds: float = 0.0) -> bool:
        """Write what was posted; see `DebugTransport`."""
        data = memoryview(self._channel.receive())
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise InputError(
                f"the debug channel cannot be written to {self.place}: {reason_of(error)}"
            ) from None
        return False

    def flush(self) -> None:
        """Write what was posted."""
        self.poll()

    def close(self) -> None:
        """Write what is left and close the file."""
        if not self._file.closed:
            try:
                self.poll()
            finally:
                self._file.close()


class SocketTransport:
    """Listens for one debugger at a time; while there is none the channel keeps what is posted.

    Args:
        specification: where to listen.
        channel: the channel to carry.

    Raises:
        OSError: it cannot listen there.
    """

    receives = True

    def __init__(self, specification: DebugChannelSpecification, channel: DebugChannel) -> None:
        self._channel = channel
        self._path = specification.path if specification.kind == "unix" else None
        self._peer: socket.socket | None = None
        self._unsent = b""
        self._next_poll = 0.0
        self._closed = False
        if self._path is not None:
            self._listener = listen_unix(self._path)
            self.place = str(self._path)
        else:
            self._listener = listen_tcp(specification.host, specification.port)
            self.place = place_of(self._listener)
            host, port = self._listener.getsockname()[:2]
            channel.connect(_addresses(host, port))
        self._listener.setblocking(False)

    @property
    def connected(self) -> bool:
        """Whether a debugger is connected."""
        return self._peer is not None

    def poll(self, seconds: float = 0.0) -> bool:
        """Carry bytes both ways; see `DebugTransport`."""
        now = time.monotonic()
        if seconds <= 0 and now < self._next_poll:
            # A machine asks after every turn, thousands of times a second.
            return False
        deadline = now + seconds
        self._next_poll = now + _SECONDS_BETWEEN_POLLS
        while True:
            self._accept()
            self._send()
            if self._receive():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait(left)

    def flush(self) -> None:
        """Send what was posted as far as the debugger takes it."""
        self._accept()
        self._send()

    def close(self) -> None:
        """Send what is left, for a second at most, and stop listening."""
        if self._closed:
            return
        self._closed = True
        end = time.monotonic() + _SECONDS_FOR_THE_REST
        self.flush()
        while self._unsent and self._peer is not None and time.monotonic() < end:
            select.select([], [self._peer], [], 0.05)
            self._send()
        self._hang_up()
        self._listener.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _wait(self, seconds: float) -> None:
        """Wait until a debugger comes, or sends something, or takes what is left to send."""
        readers = [self._listener if self._peer is None else self._peer]
        writers = [self._peer] if self._peer is not None and self._unsent else []
        if self._peer is not None and not self._channel.room:
            readers = []
        select.select(readers, writers, [], seconds)

    def _accept(self) -> None:
        if self._peer is not None:
            return
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._peer, _ = self._listener.accept()
            self._peer.setblocking(False)
            if self._path is None:
                self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _send(self) -> None:
        while self._peer is not None:
            if not self._unsent:
                self._unsent = self._channel.receive(_CHUNK)
                if not self._unsent:
                    return
            try:
                self._unsent = self._unsent[self._peer.send(self._unsent) :]
            except BlockingIOError:
                return
            except OSError:
                self._hang_up()

    def _receive(self) -> bool:
        if self._peer is None or not self._channel.room:
            return False
        try:
            data = self._peer.recv(min(self._channel.room, _CHUNK))
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return False
        self._channel.send(data)
        return True

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None


def _addresses(host: str, port: int) -> ConnectionAddresses:
    """Return both ends as the guest is told of them: as QEMU does, the host's values twice."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.version == 4:
            return ConnectionAddresses(int(address), int(address), port, port)
    return ConnectionAddresses(0, 0, port, port)
