"""How a run ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypercall.cpu.unicorn.engine import Engine

_EXIT_KINDS = (
    "hypercalls",
    "msr_reads",
    "msr_writes",
    "cpuid",
    "port_reads",
    "port_writes",
    "mmio_reads",
    "mmio_writes",
    "halts",
    "pauses",
    "exceptions",
    "interrupts",
    "violations",
)


class StopReason(Enum):
    """Why a run ended."""

    POWER_OFF = auto()
    """The guest powered the machine off."""
    DEBUG_EXIT = auto()
    """The guest wrote to the debug exit port."""
    RESET = auto()
    """The guest reset the machine."""
    PANIC = auto()
    """The guest's kernel panicked or reported a crash."""
    TRIPLE_FAULT = auto()
    """A processor shut down because it could not deliver an exception."""
    LIMIT = auto()
    """The virtual time reached the limit."""
    INTERRUPTED = auto()
    """Somebody asked for the stop from outside."""
    DEADLOCK = auto()
    """Every processor is halted, and nothing can wake one."""
    UNTIL = auto()
    """The awaited condition came true."""
    PAUSED = auto()
    """Somebody asked for a pause, for instance at an event; the guest can run on."""
    DEBUGGER = auto()
    """A breakpoint, watchpoint or step was reached; the guest can run on."""


REASON_TEXTS: Mapping[StopReason, str] = MappingProxyType(
    {
        StopReason.POWER_OFF: "the guest powered off",
        StopReason.DEBUG_EXIT: "the guest left through the debug exit port",
        StopReason.RESET: "the guest reset itself",
        StopReason.PANIC: "the guest panicked",
        StopReason.TRIPLE_FAULT: "the guest triple-faulted",
        StopReason.LIMIT: "the limit of virtual time stopped the guest",
        StopReason.INTERRUPTED: "the run was interrupted",
        StopReason.DEADLOCK: "every virtual processor is halted and nothing can wake one",
        StopReason.UNTIL: "the awaited event came",
        StopReason.PAUSED: "the run was paused",
        StopReason.DEBUGGER: "the run was stopped for a debugger",
    }
)
"""Each reason in words, the beginning of a sentence."""


TO_BE_CONTINUED = (
    StopReason.UNTIL,
    StopReason.PAUSED,
    StopReason.DEBUGGER,
    StopReason.LIMIT,
)
"""After these the guest goes on where it is: what it has not finished to say it says then."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended.

    Attributes:
        reason: why.
        exit_code: what the guest wrote to the debug exit port, for ``DEBUG_EXIT``.
        virtual_ns: the virtual time at the end, in nanoseconds since the machine was made.
        host_seconds: the host time of this run.
        executed: bytes of guest code executed since the machine was made.
        exits: how often each kind of exit came since the machine was made.
        detail: one line more about the reason; may be empty.
        began_ns: the virtual time at which this run began.
        executed_before: bytes of guest code executed before this run.
    """

    reason: StopReason
    exit_code: int | None = None
    virtual_ns: int = 0
    host_seconds: float = 0.0
    executed: int = 0
    exits: dict[str, int] = field(default_factory=dict)
    detail: str = ""
    began_ns: int = 0
    executed_before: int = 0


def exit_counts(engine: "Engine") -> dict[str, int]:
    """How often each kind of exit of an engine came since it was made."""
    counters = engine.counters()
    return {name: counters[name] for name in _EXIT_KINDS}
