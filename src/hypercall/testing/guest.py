"""A guest under test: its machine, shell, console and calls."""

from __future__ import annotations

import re
from collections.abc import Callable

from hypercall.faults.armed import ArmedFault
from hypercall.faults.fault import Fault
from hypercall.machine.machine import Machine
from hypercall.machine.result import REASON_TEXTS, TO_BE_CONTINUED, RunResult, StopReason
from hypercall.testing.console_log import ConsoleLog
from hypercall.testing.failures import GuestEndedError, GuestTimeoutError
from hypercall.testing.recorder import CallRecorder
from hypercall.testing.settings import GuestSettings
from hypercall.testing.shell import Shell

_NANOSECONDS = 1_000_000_000


class Guest:
    """A guest that a test has for itself, from the moment that it was booted on.

    Args:
        machine: the machine, between runs.
        settings: what guest it is.
        boot_console: what its console showed while it booted.

    Attributes:
        machine: the machine.
        settings: what guest it is.
        boot_console: what its console showed while it booted.
        calls: the calls that it made since; ``with guest.calls.recording() as calls`` records by
            itself what is called in a block.
        shell: the shell on its console.
    """

    def __init__(self, machine: Machine, settings: GuestSettings, boot_console: str = "") -> None:
        self.machine = machine
        self.settings = settings
        self.boot_console = boot_console
        self.calls = CallRecorder(machine.trace, machine.symbol)
        self._log = ConsoleLog()
        self._seen = 0
        machine.console.output.append(self._log.append)
        self.shell = Shell(machine, self._log, self.run_until)

    @property
    def console(self) -> str:
        """What the guest wrote to its console since it was booted, with plain line feeds."""
        return self._log.text

    @property
    def time_ns(self) -> int:
        """The virtual time in nanoseconds since the machine was made."""
        return self.machine.time_ns

    def run(self, seconds: float) -> RunResult:
        """Let virtual time pass.

        Args:
            seconds: how much.

        Returns:
            How the run ended: ``LIMIT`` unless the guest did.
        """
        return self.machine.run(self._limit(seconds))

    def run_to_end(self, timeout: float = 60.0) -> RunResult:
        """Run until the guest ends, in whatever way.

        Args:
            timeout: the virtual seconds that it may take.

        Raises:
            GuestTimeoutError: the time is over.
        """
        __tracebackhide__ = True
        result = self.machine.run(self._limit(timeout))
        if result.reason in TO_BE_CONTINUED:
            raise GuestTimeoutError(f"the guest did not end within {timeout:g} s of virtual time")
        return result

    def run_until(
        self, condition: Callable[[], bool], timeout: float = 30.0, what: str = "the condition"
    ) -> None:
        """Run until a condition is true.

        Args:
            condition: asked at least every 20 ms of virtual time.
            timeout: the virtual seconds that it may take.
            what: what is waited for, for messages.

        Raises:
            GuestTimeoutError: the time is over.
            GuestEndedError: the guest ended before.
        """
        __tracebackhide__ = True
        limit = self._limit(timeout)
        while True:
            result = self.machine.run(limit, until=condition)
            # What the guest wrote last is handed on when the run ends.
            if result.reason is StopReason.UNTIL or condition():
                return
            if result.reason is StopReason.LIMIT:
                raise GuestTimeoutError(
                    f"{what} took more than {timeout:g} s of virtual time, until "
                    f"{result.virtual_ns / 1e9:.6f} s"
                )
            if result.reason not in TO_BE_CONTINUED:
                raise GuestEndedError(f"{end_text(result)} while the test waited for {what}")

    def wait_for(self, text: str, timeout: float = 30.0) -> str:
        """Run until the console has a text, behind that of the last wait.

        Args:
            text: a regular expression (of ``re``, on lines with plain or other line feeds).
            timeout: the virtual seconds that it may take.

        Returns:
            What matched.

        Raises:
            GuestTimeoutError: the time is over.
            GuestEndedError: the guest ended before.
        """
        __tracebackhide__ = True
        pattern = re.compile(text.encode(), re.MULTILINE)
        self.run_until(
            lambda: self._log.search(pattern, self._seen) is not None,
            timeout,
            f"{text!r} on the console",
        )
        found = self._log.search(pattern, self._seen)
        assert found is not None
        self._seen = found[1]
        return found[0][0].decode("utf-8", "replace")

    def type(self, text: str) -> None:
        """Type on the console; the guest gets it when it runs."""
        self.machine.console.feed(text.encode())

    def inject(self, fault: str | Fault) -> ArmedFault:
        """Inject a fault: ``with guest.inject("call=PostMessage,nth=1,status=NO_RESOURCES")``.

        Args:
            fault: its text (``hypercall faults`` explains it), or one of
                ``hypercall.faults.fault``.

        Returns:
            The armed fault, which counts what it ``struck``; a context manager, at whose end it is
            disarmed. At the end of the test every one is.

        Raises:
            InputError: the text means nothing, or the machine has nothing that it names.
        """
        return self.machine.inject(fault)

    def _limit(self, seconds: float) -> int:
        return self.machine.time_ns + max(1, round(seconds * _NANOSECONDS))


def end_text(result: RunResult) -> str:
    """Say how a guest ended, with the detail that is known."""
    text = REASON_TEXTS[result.reason]
    return f"{text} ({result.detail})" if result.detail else text
