"""Where the server listens, as users write it."""

import re
import socket
from pathlib import Path

from hypercall.errors import InputError
from hypercall.machine.listening import LOOPBACK, listen_tcp, listen_unix, place_of, reason_of

_TCP = re.compile(r"(?:tcp:)?(?:(\[[^\]]*\]|[^:\[\]]*):)?(\d{1,5})")


class Place:
    """A place to listen at.

    Args:
        text: ``:PORT`` or ``PORT`` (the loopback interface), ``HOST:PORT`` or ``unix:PATH``; port
            0 stands for any that is free.

    Raises:
        InputError: the text is none of these.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._host, self._port = LOOPBACK, 0
        self.path: Path | None = None
        if text.startswith("unix:") and len(text) > len("unix:"):
            self.path = Path(text.removeprefix("unix:"))
            return
        match = _TCP.fullmatch(text)
        if match is None or int(match[2]) > 0xFFFF:
            raise InputError(
                f"{text!r} is no place for gdb to connect to: give :PORT, HOST:PORT or unix:PATH"
            )
        self._host, self._port = (match[1] or "").strip("[]") or LOOPBACK, int(match[2])

    def listen(self) -> tuple[socket.socket, str]:
        """Listen there.

        Returns:
            The socket, which does not block, and where it is for gdb's ``target remote``.

        Raises:
            InputError: it cannot be had.
        """
        try:
            if self.path is not None:
                listener, name = listen_unix(self.path), str(self.path)
            else:
                listener = listen_tcp(self._host, self._port)
                name = place_of(listener)
        except OSError as error:
            raise InputError(
                f"gdb cannot be served at {self._text}: {reason_of(error)}; choose another place"
            ) from None
        listener.setblocking(False)
        return listener, name
