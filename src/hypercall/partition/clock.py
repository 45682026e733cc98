"""The partition's clock: reference counter and time stamp counter from one count of nanoseconds."""

from collections.abc import Callable

NANOSECONDS_PER_REFERENCE_UNIT = 100
"""The reference counter and the synthetic timers count units of 100 ns (TLFS, Timers)."""

TSC_FREQUENCY = 1_000_000_000
"""The time stamp counter's frequency in Hz: one tick a nanosecond."""

APIC_FREQUENCY = 200_000_000
"""The frequency in Hz of the bus clock that the local APIC timers divide."""

NANOSECONDS_PER_APIC_TICK = 1_000_000_000 // APIC_FREQUENCY
"""The length of one undivided local APIC timer tick."""


class ReferenceClock:
    """Time as the partition sees it, counted from its creation.

    Args:
        now: returns the nanoseconds since the partition was created; it never goes back.
    """

    __slots__ = ("now",)

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now

    def reference_count(self) -> int:
        """Return the partition reference counter, in units of 100 ns (TLFS, Reference Counter)."""
        return self.now() // NANOSECONDS_PER_REFERENCE_UNIT

    def tsc(self) -> int:
        """Return the time stamp counter before any processor's adjustment, in ticks of 1 GHz."""
        return self.now()


class ManualClock:
    """A count of nanoseconds that moves only when told to, for use without a machine.

    Its `now` can stand for that of a `ReferenceClock`.
    """

    __slots__ = ("nanoseconds",)

    def __init__(self, nanoseconds: int = 0) -> None:
        self.nanoseconds = nanoseconds

    def now(self) -> int:
        """Return the nanoseconds since the partition was created."""
        return self.nanoseconds

    def advance(self, nanoseconds: int) -> None:
        """Move the time forward.

        Args:
            nanoseconds: how far; it must not be negative.

        Raises:
            ValueError: the time would go back.
        """
        if nanoseconds < 0:
            raise ValueError("time cannot go back")
        self.nanoseconds += nanoseconds
