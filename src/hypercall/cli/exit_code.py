"""The exit codes of the command ``hypercall``."""

from __future__ import annotations

from enum import IntEnum

from hypercall.machine.result import RunResult, StopReason


class ExitCode(IntEnum):
    """What the command tells the shell."""

    PASSED = 0
    """The guest powered off, or wrote 0 to the debug exit port 0xF4; or the command is done."""
    GUEST_FAILED = 1
    """The guest panicked, triple-faulted, reset itself, halted for ever or reported a failure."""
    BAD_INPUT = 2
    """Bad usage or bad input; one line on the standard error says which."""
    LIMIT = 3
    """A limit stopped the guest."""
    INTERNAL_ERROR = 70
    """A mistake of this program."""
    OUTPUT_FAILED = 74
    """A trace or the console could not be written to its end."""
    INTERRUPTED = 130
    """The user stopped the run with SIGINT or Ctrl-A x; traces are complete up to there."""
    READER_GONE = 141
    """Whoever read the standard output went away."""


_BY_REASON = {
    StopReason.POWER_OFF: ExitCode.PASSED,
    StopReason.UNTIL: ExitCode.PASSED,
    StopReason.PAUSED: ExitCode.PASSED,
    StopReason.DEBUGGER: ExitCode.PASSED,
    StopReason.RESET: ExitCode.GUEST_FAILED,
    StopReason.PANIC: ExitCode.GUEST_FAILED,
    StopReason.TRIPLE_FAULT: ExitCode.GUEST_FAILED,
    StopReason.DEADLOCK: ExitCode.GUEST_FAILED,
    StopReason.LIMIT: ExitCode.LIMIT,
    StopReason.INTERRUPTED: ExitCode.INTERRUPTED,
}


def exit_code_of(result: RunResult) -> ExitCode:
    """Return the exit code for how a guest's run ended."""
    if result.reason is StopReason.DEBUG_EXIT:
        return ExitCode.GUEST_FAILED if result.exit_code else ExitCode.PASSED
    return _BY_REASON[result.reason]
