"""The guest's shell: commands that are typed on the console, their output and status."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypercall.errors import InputError
from hypercall.testing.console_log import ConsoleLog, console_text
from hypercall.testing.failures import CommandError, GuestEndedError, GuestTimeoutError

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine

# Busybox takes lines of 1,024 bytes where it lets them be edited.
_LONGEST = 1000
# A message of the kernel may come in the middle of anything.
_KERNEL_MESSAGE = re.compile(rb"\[ *\d+\.\d{6}\] [^\n]*\n")

Wait = Callable[[Callable[[], bool], float, str], None]


@dataclass(frozen=True)
class CommandResult:
    """What a command did.

    Attributes:
        command: the command.
        status: its exit status.
        output: what it wrote, standard error included, without line feeds at the end.
        virtual_ns: the virtual time from the typing to the status.
    """

    command: str
    status: int
    output: str
    virtual_ns: int

    @property
    def lines(self) -> list[str]:
        """The lines of the output."""
        return self.output.splitlines()


class Shell:
    """A POSIX shell that reads the guest's console.

    Args:
        machine: the machine.
        console: what the guest writes.
        wait: runs the guest until a condition is true: the condition, virtual seconds, and what is
            waited for.
    """

    def __init__(self, machine: Machine, console: ConsoleLog, wait: Wait) -> None:
        self._machine = machine
        self._console = console
        self._wait = wait
        self._number = 0

    def run(self, command: str, *, timeout: float = 30.0, check: bool = False) -> CommandResult:
        """Run a command and wait for its end.

        It runs in the shell itself: variables and the working folder stay. It has no input, and
        must not end the shell. What the kernel writes to the console meanwhile is in the output.

        Args:
            command: what to run, of several lines if need be.
            timeout: the virtual seconds that it may take.
            check: whether a status other than 0 is an error.

        Raises:
            InputError: the command is longer than a line may be.
            CommandError: the status is not 0, if that is checked.
            GuestTimeoutError: the time is over.
            GuestEndedError: the guest ended meanwhile.
        """
        __tracebackhide__ = True
        self._number += 1
        number = self._number
        # The words are put together by the guest, so that its echo of the line is no match.
        line = (
            f"printf 'hypercall%s {number}\\n' -begins; eval {shlex.quote(command)} </dev/null;"
            f" printf 'hypercall%s {number} %d\\n' -ends $?\n"
        ).encode()
        if len(line) > _LONGEST:
            raise InputError(
                f"a command of {len(command)} characters is too long for the console: put it into"
                " a script in the initial RAM disk (files) and run that"
            )
        start, began = self._console.end, self._machine.time_ns
        found: list[tuple[bytes, int]] = []

        def ended() -> bool:
            result = _parse(self._console.since(start), number)
            if result is not None:
                found.append(result)
            return result is not None

        self._machine.console.feed(line)
        try:
            self._wait(ended, timeout, f"the command {command!r}")
        except (GuestTimeoutError, GuestEndedError) as error:
            begun = f"hypercall-begins {number}".encode() in self._console.since(start)
            hint = "" if begun else "; no shell at the console took it"
            if not begun and not began:
                hint += ", and the guest had not booted: give busybox, or initrd and ready"
            raise type(error)(f"{error}{hint}") from None
        output, status = found[0]
        result = CommandResult(
            command, status, console_text(output).rstrip("\n"), self._machine.time_ns - began
        )
        if check and status:
            raise CommandError(f"{command!r} returned {status} and wrote: {result.output}")
        return result


def _parse(data: bytes, number: int) -> tuple[bytes, int] | None:
    """Return output and status of a command that has ended."""
    pattern = re.compile(
        rb"hypercall-begins %d\r?\n(.*)hypercall-ends %d (\d+)\r?\n" % (number, number), re.DOTALL
    )
    found = pattern.search(data) or pattern.search(_KERNEL_MESSAGE.sub(b"", data))
    return None if found is None else (found[1], int(found[2]))
