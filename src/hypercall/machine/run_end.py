"""What ends a run from within the guest: a device, a crash, a panic."""

from collections.abc import Sequence

from hypercall.cpu.unicorn.engine import Engine
from hypercall.machine.console import panic_line
from hypercall.machine.result import StopReason

_PANIC_GRACE_NS = 2_000_000_000


class RunEnd:
    """Why the current run ends, as far as the guest has given a reason.

    Args:
        engine: what is stopped.

    Attributes:
        reason: the first reason that came up in this run, or None.
        exit_code: what the guest wrote to the debug exit port, or None.
        detail: one line more about the reason; may be empty.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.reason: StopReason | None = None
        self.exit_code: int | None = None
        self.detail = ""
        self._panic_at: int | None = None

    def stop(self, reason: StopReason) -> None:
        """End the run before the next block of code."""
        if self.reason is None:
            self.reason = reason
        self._engine.stop()

    def debug_exit(self, value: int) -> None:
        """End the run with an exit code."""
        self.exit_code = value
        self.stop(StopReason.DEBUG_EXIT)

    def crash(self, parameters: Sequence[int], message: bytes | None) -> None:
        """End the run because the guest reported a crash.

        Args:
            parameters: the values of HV_X64_MSR_CRASH_P0 to P4.
            message: the text that the guest gave with them, or None.
        """
        values = ", ".join(f"{parameter:#x}" for parameter in parameters)
        self.detail = f"the guest reported a crash ({values})"
        said = panic_line((message or b"").decode("utf-8", "replace"))
        if said is not None:
            self.detail += f": {said}"
        self.stop(StopReason.PANIC)

    def panic_overdue(self, now: int) -> bool:
        """Return whether a kernel that panicked has had time enough.

        It may still have something to say, or may reset the machine.

        Args:
            now: the virtual time in nanoseconds; the first call is when the panic was noticed.
        """
        if self._panic_at is None:
            self._panic_at = now
        return now >= self._panic_at + _PANIC_GRACE_NS
