"""Whether a virtual processor could run."""

from enum import Enum, auto


class RunState(Enum):
    """Whether a virtual processor could run in its active VTL."""

    WAITING_FOR_START_UP = auto()
    """After INIT or creation: it runs nothing until a start-up message or a start call."""
    RUNNING = auto()
    """It runs, or rests in HLT until an interrupt."""
