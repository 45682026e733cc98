"""The connection to one gdb at a time, without threads."""

import contextlib
import select
import socket
import time
from collections import deque

from hypercall.gdb.packets import PacketReader, Signal, frame
from hypercall.gdb.place import Place

_CHUNK = 1 << 16
_MOST_WAITING = 64
_SECONDS_BETWEEN_POLLS = 0.002
_SECONDS_TO_SEND = 5.0


class Connection:
    """Listens for gdb, and carries packets.

    Args:
        place: where to listen.

    Attributes:
        place: where gdb finds it.
        acknowledges: whether packets are acknowledged.
        new: whether a gdb has connected that nobody has attended to.

    Raises:
        InputError: the place cannot be had.
    """

    def __init__(self, place: Place) -> None:
        self._path = place.path
        self._listener, self.place = place.listen()
        self._peer: socket.socket | None = None
        self._reader = PacketReader()
        self._items: deque[bytes | Signal] = deque()
        self._last = b""
        self._next_poll = 0.0
        self.acknowledges = True
        self.new = False

    @property
    def connected(self) -> bool:
        """Whether a gdb is connected."""
        return self._peer is not None

    def poll(self) -> bool:
        """Look whether a running guest is to be stopped: by Ctrl-C, or by a gdb that is new."""
        now = time.monotonic()
        # A machine asks after every turn, thousands of times a second.
        if now >= self._next_poll:
            self._next_poll = now + _SECONDS_BETWEEN_POLLS
            self._receive()
        return self.new or Signal.INTERRUPT in self._items

    def wait(self, seconds: float) -> bool:
        """Wait until there is something to take, a gdb is new, or the time is over."""
        self._receive()
        if self._items or self.new:
            return True
        with contextlib.suppress(OSError, ValueError):
            select.select([self._peer or self._listener], [], [], seconds)
        self._receive()
        return bool(self._items) or self.new

    def take(self) -> bytes | Signal | None:
        """The next packet or signal that came, or None."""
        return self._items.popleft() if self._items else None

    def drop_signals(self) -> None:
        """Forget what came while the guest ran, but packets."""
        self._items = deque(item for item in self._items if isinstance(item, bytes))

    def send(self, payload: bytes) -> None:
        """Send a packet."""
        self._last = frame(payload)
        self._write(self._last)

    def repeat(self) -> None:
        """Send the last packet once more."""
        self._write(self._last)

    def hang_up(self) -> None:
        """End the connection and listen for another gdb."""
        if self._peer is not None:
            self._peer.close()
        self._peer = None
        self._items.clear()
        self._reader = PacketReader()
        self.acknowledges = True
        self.new = False

    def close(self) -> None:
        """End the connection and stop listening."""
        self.hang_up()
        self._listener.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        self.hang_up()
        peer.setblocking(False)
        if peer.family != socket.AF_UNIX:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer = peer
        self.new = True

    def _receive(self) -> None:
        if self._peer is None:
            self._accept()
        while self._peer is not None and len(self._items) < _MOST_WAITING:
            try:
                data = self._peer.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.hang_up()
                return
            for item in self._reader.feed(data):
                if item is Signal.ACKNOWLEDGED:
                    continue
                if self.acknowledges and item is not Signal.INTERRUPT and item is not Signal.REPEAT:
                    self._write(b"-" if item is Signal.DAMAGED else b"+")
                if item is not Signal.DAMAGED and len(self._items) < _MOST_WAITING:
                    self._items.append(item)

    def _write(self, data: bytes) -> None:
        """Send bytes; a peer that does not take them is given up."""
        end = time.monotonic() + _SECONDS_TO_SEND
        while data and self._peer is not None:
            try:
                data = data[self._peer.send(data) :]
            except BlockingIOError:
                if time.monotonic() > end:
                    self.hang_up()
                    return
                select.select([], [self._peer], [], 0.1)
            except OSError:
                self.hang_up()
