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

    @property
    def running(self) -> int:
        """How many children run."""
        return len(self._running)

    def fork(self, number: int) -> bool:
        """Make a child, as soon as there is room for one.

        Returns:
            True in the child, False in the parent.
        """
        while len(self._running) >= self._jobs:
            self._wait()
        reader, writer = os.pipe()
        process = os.fork()
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
        """Wait for all children."""
        while self._running:
            self._wait()

    def end(self) -> None:
        """End all children that still run."""
        for reader, child in self._running.items():
            self._kill(reader, child)
        self._running.clear()

    def _become_child(self, number: int, reader: int, writer: int) -> None:
        self.own = number
        self._writer = writer
        os.close(reader)
        for other in self._running:
            os.close(other)
        self._running.clear()
        # The user's interrupt is the parent's affair, and so is what is shown.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nowhere, descriptor)

    def _wait(self) -> None:
        """Take what comes from the children, until one has ended."""
        while True:
            left = min(child.deadline for child in self._running.values()) - time.monotonic()
            ready = select.select(list(self._running), [], [], max(0.0, left))[0]
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
