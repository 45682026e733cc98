"""Processes that each go on from one point of a run by themselves, and report how it ended.

A child is a fork: it has the machine as it is at that moment, exactly, and costs a few
milliseconds. Its report comes through a pipe of its own; it has no other output.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypercall.errors import HypercallError

_PIECE = 1 << 16
_LONGEST_REPORT = 1 << 20


@dataclass(slots=True)
class _Child:
    number: int
    process: int
    deadline: float
    report: bytearray = field(default_factory=bytearray)


class Children:
    """The children of one process, a few at a time.

    Args:
        jobs: how many run at a time.
        timeout: after how many seconds of the host's time a child is ended.
        reported: called with each child's number, and with its report, or with one line on why
            there is none.

    Attributes:
        own: in a child its number, in the parent None.
    """

    def __init__(
        self, jobs: int, timeout: float, reported: Callable[[int, dict[str, Any] | str], None]
    ) -> None:
        self.own: int | None = None
        self._jobs = jobs
        self._timeout = timeout
        self._reported = reported
        self._running: dict[int, _Child] = {}
        self._writer = -1
        self._parent = os.getpid()
        self._stopped = False
        # What is written here wakes who waits for the children.
        self._woken, self._waker = os.pipe()

    @property
    def running(self) -> int:
        """How many children run."""
        return len(self._running)

    @property
    def orphaned(self) -> bool:
        """In a child: whether the parent is gone, so that nobody waits for the report."""
        return os.getppid() != self._parent

    def stop(self) -> None:
        """Make no more children, and wait for none; may be called by a signal handler."""
        if not self._stopped:
            self._stopped = True
            os.write(self._waker, b"!")

    def fork(self, number: int) -> bool:
        """Make a child, as soon as there is room for one; none after `stop`.

        Returns:
            True in the child, False in the parent.

        Raises:
            HypercallError: the host cannot make another process.
        """
        while len(self._running) >= self._jobs and not self._stopped:
            self._wait()
        if self._stopped:
            return False
        reader, writer = os.pipe()
        try:
            process = os.fork()
        except OSError as error:
            os.close(reader)
            os.close(writer)
            raise HypercallError(
                f"the host cannot make another process ({error.strerror}): let fewer run at a time"
            ) from None
        if process:
            os.close(writer)
            deadline = time.monotonic() + self._timeout
            self._running[reader] = _Child(number, process, deadline)
            return False
        self._become_child(number, reader, writer)
        return True

    def report(self, report: dict[str, Any]) -> None:
        """In a child: send the report, and end. Does not return."""
        try:
            data = memoryview(json.dumps(report).encode())
            while data:
                data = data[os.write(self._writer, data) :]
        finally:
            os._exit(0)

    def finish(self) -> None:
        """Wait for all children, or until `stop`."""
        while self._running and not self._stopped:
            self._wait()

    def end(self) -> None:
        """End all children that still run; afterwards there can be no others."""
        for reader, child in self._running.items():
            self._kill(reader, child)
        self._running.clear()
        if self._woken >= 0:
            self._stopped = True
            os.close(self._woken)
            os.close(self._waker)
            self._woken = -1

    def _become_child(self, number: int, reader: int, writer: int) -> None:
        self.own = number
        self._writer = writer
        os.close(reader)
        for other in self._running:
            os.close(other)
        self._running.clear()
        os.close(self._woken)
        os.close(self._waker)
        self._woken = -1
        # Signals to the whole group are the parent's affair, and so is what is shown.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nowhere, descriptor)

    def _wait(self) -> None:
        """Take what comes from the children, until one has ended or `stop` is called."""
        while True:
            left = min(child.deadline for child in self._running.values()) - time.monotonic()
            readers = [self._woken, *self._running]
            ready = select.select(readers, [], [], max(0.0, left))[0]
            if self._woken in ready:
                return
            for reader in ready:
                child = self._running[reader]
                piece = os.read(reader, _PIECE)
                child.report += piece
                if not piece or len(child.report) > _LONGEST_REPORT:
                    self._ended(reader, child)
                    return
            now = time.monotonic()
            for reader, child in self._running.items():
                if now >= child.deadline:
                    del self._running[reader]
                    self._kill(reader, child)
                    self._reported(child.number, f"no end after {self._timeout:g} s of host time")
                    return

    def _ended(self, reader: int, child: _Child) -> None:
        del self._running[reader]
        os.close(reader)
        status = os.waitstatus_to_exitcode(os.waitpid(child.process, 0)[1])
        if status < 0:
            self._reported(child.number, f"the process was ended by {_signal_name(-status)}")
            return
        try:
            report = json.loads(bytes(child.report))
        except ValueError:
            self._reported(child.number, "the process ended without a report")
            return
        self._reported(child.number, report)

    def _kill(self, reader: int, child: _Child) -> None:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.process, signal.SIGKILL)
        os.waitpid(child.process, 0)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
