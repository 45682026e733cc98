"""Commands that go forward and back in a recorded run, and look at the machine there."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from hypercall.cli.findings import write_findings
from hypercall.cli.signals import StopSignals
from hypercall.errors import HypercallError, InputError
from hypercall.gdb.monitor import Monitor
from hypercall.gdb.target import Target
from hypercall.printable import printable
from hypercall.recording.moment import FORMS, CallMoment, TimeMoment, parse_moment
from hypercall.recording.replay import InterruptedReplayError, Replay
from hypercall.trace.events import HypercallEvent
from hypercall.trace.strace import StraceWriter

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine
    from hypercall.recording.recording import Recording

PROMPT = "(replay) "

_MOST_LINES = 1000
_FEW_LINES = 10
_LONGEST_LINE = 4096
_MOST_DIGITS = 9
# What the machine tells at gdb's prompt it tells here too.
_LOOKING = (
    *("vp", "vtl", "calls", "synic", "apic", "timers", "msr", "gpa", "translate", "time"),
    "where",
)


class Travel:
    """A recorded run, and the commands that move in it.

    Args:
        recording: the run.

    Attributes:
        replay: the run at its present moment.
        done: whether the user has had enough.
    """

    def __init__(self, recording: Recording) -> None:
        self._checked = not recording.is_tour
        self._log: list[str] = []
        self._console: list[bytes] = []
        self.replay = Replay(recording, prepare=self._prepare)
        self.done = False
        self._commands: dict[str, tuple[str, str, Callable[[list[str]], str]]] = {
            "go": ("MOMENT", f"go to {FORMS}, counted from the beginning", self._go),
            "next": ("[N]", "go to the moment when the next call has been made, or N", self._next),
            "back": ("[N]", "go back to the moment of the call before, or N calls", self._back),
            "start": ("", "go to the beginning", self._start),
            "end": ("", "go to the end", self._end),
            "log": ("[N]", f"the last {_FEW_LINES} hypercalls so far, or N", self._show_log),
            "console": (
                "[N]",
                f"the last {_FEW_LINES} lines on the console so far, or N",
                self._show_console,
            ),
            "findings": ("", "what the checks have found so far", self._findings),
            "registers": ("[VP]", "general and control registers", self._registers),
            "save": ("FILE", "save a snapshot, for `hypercall run FILE`", self._save),
            "help": ("", "these commands", self._help),
            "quit": ("", "leave", self._quit),
        }

    def run(self, line: str) -> str:
        """Carry out a command.

        Args:
            line: the command with its arguments; an empty one does nothing.

        Returns:
            What it has to say, in lines that end with a newline; may be empty.

        Raises:
            InputError: there is no such command, or it cannot be done.
        """
        word, _, rest = line.strip().partition(" ")
        if not word:
            return ""
        if word in _LOOKING:
            return self._monitor.run(line.strip(), 1)
        command = self._commands.get(word)
        if command is None:
            raise InputError(f"there is no command {word[:40]!r}: `help` lists them")
        # A text on the console may have spaces in it.
        words = [rest.strip()] if word in ("go", "save") and rest.strip() else rest.split()
        if len(words) > (1 if command[0] else 0):
            raise InputError(f"{word} takes {command[0] or 'nothing'}: `help` lists the commands")
        return command[2](words)

    def place(self) -> str:
        """Return a line on the present moment: its time, the calls so far and the last of them."""
        replay = self.replay
        end = ", the end of the run" if replay.ended else ""
        calls = f"{replay.calls:,} hypercall{'s' if replay.calls != 1 else ''}"
        text = f"{replay.time_ns / 1e9:.9f} s, {calls} made{end}\n"
        return text + (self._log[-1] if self._log else "")

    def _prepare(self, machine: Machine) -> None:
        if self._checked:
            machine.check()
        self._monitor = Monitor(Target(machine))
        machine.state_holders += [self._monitor.calls, self._log, self._console]
        StraceWriter(self._note, machine.symbol).attach(machine.trace, HypercallEvent)
        machine.console.output.append(self._wrote)

    def _note(self, line: str) -> None:
        self._log.append(line)
        del self._log[:-_MOST_LINES]

    def _wrote(self, data: bytes) -> None:
        self._console.append(data)
        del self._console[:-_MOST_LINES]

    def _go(self, words: list[str]) -> str:
        moment = parse_moment(words[0] if words else "")
        if not self.replay.go_to(moment):
            return f"{moment} never comes\n{self.place()}"
        return self.place()

    def _next(self, words: list[str]) -> str:
        return self._move(words, 1)

    def _back(self, words: list[str]) -> str:
        return self._move(words, -1)

    def _move(self, words: list[str], direction: int) -> str:
        number = self.replay.calls + direction * _count(words, 1)
        if number < 1:
            return self._start([])
        return self._go([str(CallMoment(number))])

    def _start(self, words: list[str]) -> str:
        return self._go([str(TimeMoment(0))])

    def _end(self, words: list[str]) -> str:
        self.replay.go_to_end()
        return self.place()

    def _show_log(self, words: list[str]) -> str:
        return "".join(self._log[-_count(words, _FEW_LINES) :])

    def _show_console(self, words: list[str]) -> str:
        text = b"".join(self._console).decode("utf-8", "backslashreplace").replace("\r\n", "\n")
        lines = text.splitlines()[-_count(words, _FEW_LINES) :]
        return "".join(f"{printable(line.expandtabs(), _LONGEST_LINE)}\n" for line in lines)

    def _findings(self, words: list[str]) -> str:
        machine = self.replay.machine
        if machine.checks is None or not machine.checks.findings:
            return "none so far\n"
        output = io.StringIO()
        write_findings(output, machine.checks.findings, machine.checks.place)
        return output.getvalue().lstrip()

    def _registers(self, words: list[str]) -> str:
        registers = self.replay.machine.registers(_count(words, 0, least=0))
        return "".join(f"{name:<7}{value:#018x}\n" for name, value in registers.items())

    def _save(self, words: list[str]) -> str:
        if not words:
            raise InputError("save takes a file: give one")
        self.replay.machine.save(Path(words[0]))
        return f"saved {words[0]}\n"

    def _quit(self, words: list[str]) -> str:
        self.done = True
        return ""

    def _help(self, words: list[str]) -> str:
        lines = [(f"{name} {form}", text) for name, (form, text, _) in self._commands.items()]
        looking = self._monitor.run("help", 1).splitlines(keepends=True)
        return "".join(f"{form:<20} {text}\n" for form, text in lines) + "".join(
            line for line in looking if line.split()[0] in _LOOKING
        )


def travel(recording: Recording, commands: IO[str], output: IO[str]) -> None:
    """Carry out commands until they end.

    Args:
        recording: the run to go about in.
        commands: where they come from; a terminal gets a prompt, and may make mistakes.
        output: where their answers go.

    Raises:
        InputError: one that nobody typed cannot be carried out.
    """
    asked = commands.isatty()
    if asked:
        # Imported for what it does to input(): editing and history.
        import readline  # noqa: F401
    journey = Travel(recording)
    number = 0
    while not journey.done:
        number += 1
        try:
            line = input(PROMPT) if asked else commands.readline()
        except EOFError:
            line = ""
        if not line and not asked:
            break
        # A signal lets the machine stop between two blocks of code, and the prompt come again.
        signals = StopSignals()
        try:
            with signals.ask(journey.replay.machine.interrupt):
                answer = journey.run(line)
            if not asked and line.strip():
                # So that answers can be told apart where nobody has seen the questions.
                output.write(f"{PROMPT}{printable(line.strip(), _LONGEST_LINE)}\n")
            output.write(answer)
            output.flush()
        except InterruptedReplayError as error:
            if not asked or signals.received != signal.SIGINT:
                raise KeyboardInterrupt from None
            sys.stderr.write(f"{error}\n")
        except HypercallError as error:
            if not asked:
                raise InputError(f"command {number}, {line.strip()[:60]!r}: {error}") from None
            sys.stderr.write(f"{error}\n")


def _count(words: list[str], default: int, least: int = 1) -> int:
    if not words:
        return default
    text = words[0]
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS or int(text) < least:
        raise InputError(f"{text[:30]!r} is no number from {least} on")
    return int(text)
