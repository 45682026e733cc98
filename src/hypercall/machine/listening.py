"""Sockets that listen on the host: TCP on loopback unless told otherwise, and Unix sockets."""

import os
import socket
import stat
from pathlib import Path

LOOPBACK = "127.0.0.1"
"""Where TCP listens unless the user says otherwise."""


def listen_tcp(host: str, port: int) -> socket.socket:
    """Listen for one peer at a TCP port.

    Args:
        host: an address or a name of this host.
        port: the port; 0 for any that is free.

    Raises:
        OSError: it cannot.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except UnicodeError:
        raise OSError(0, "the host's name is no name") from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def listen_unix(path: Path) -> socket.socket:
    """Listen for one peer at a Unix socket, which only this user can reach.

    A socket that an earlier run left behind is replaced, but none that somebody listens at.

    Raises:
        OSError: it cannot.
    """
    _remove_abandoned(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        # Whoever can write to the socket controls a guest.
        os.chmod(path, 0o600)
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_abandoned(path: Path) -> None:
    """Remove a socket that an earlier run left behind, but none that somebody listens at."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError:
            return


def place_of(listener: socket.socket) -> str:
    """Where a TCP socket listens, as ``host:port``."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason_of(error: OSError) -> str:
    """What an error of the system says, for the middle of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
