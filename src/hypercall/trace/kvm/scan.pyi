from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum

class Kind(IntEnum):
    HYPERCALL = 0
    DONE = 1
    FLUSH = 2
    FLUSH_EX = 3
    IPI = 4
    IPI_EX = 5
    ENTRY = 6
    EXIT = 7
    INJECT = 8
    MSR = 9
    WAKEUP = 10
    ACKNOWLEDGED = 11
    SET_IRQ = 12
    SEND_EOI = 13
    SYNIC_MSR = 14
    TIMER_CONFIG = 15
    TIMER_COUNT = 16
    TIMER_PERIODIC = 17
    TIMER_ONE_SHOT = 18
    TIMER_CALLBACK = 19
    TIMER_CLEANUP = 20
    TIMER_EXPIRATION = 21
    DEBUG_SET = 22
    DEBUG_GET = 23

class Calls:
    rows: int
    shared: tuple[int, int, int] | None
    crowded: bool
    def __init__(
        self,
        collect: bool,
        only: Iterable[int] | None = None,
        names: Iterable[tuple[int, int]] = (),
        texts: Texts | None = None,
    ) -> None: ...
    def finish(self) -> None: ...
    def take(self) -> list[tuple[int, ...]]: ...
    def frontier(self) -> int | None: ...
    def counters(self) -> list[tuple[int, int | None, int, int, int, int, int]]: ...
    def kinds(self) -> list[int]: ...
    def span(self) -> tuple[int, int] | None: ...

class Texts:
    def __init__(
        self,
        make_line: Callable[[tuple[int, ...]], tuple[int, bytes] | None],
        make_text: Callable[[tuple[int, ...]], bytes],
        saw: Callable[[int], object],
        most_held: int,
    ) -> None: ...
    def take(self, frontier: int | None) -> bytes: ...

class Words:
    def __init__(
        self,
        tracepoints: Iterable[tuple[int, bytes, int, Sequence[tuple[bytes, int, int, int]]]],
    ) -> None: ...

class TextSource:
    line: int
    others: int
    unreadable: int
    damage: list[tuple[int, bytes, bytes]]
    counter_clock: bool
    def __init__(self, words: Words) -> None: ...
    def feed(self, block: bytes | memoryview, calls: Calls) -> None: ...
    def too_long(self) -> None: ...

class RingSource:
    others: int
    lost: int
    unreadable: int
    damage: list[tuple[int, bytes]]
    def __init__(
        self,
        chunks: Iterable[Iterator[tuple[int, bytes | memoryview]]],
        layouts: Sequence[tuple[int, int, Sequence[tuple[int, int, int, bool]]]],
        page: int,
        commit: tuple[int, int],
        data_at: int,
        common: tuple[int, int],
        clock: tuple[int, int],
        added: int,
    ) -> None: ...
    def run(self, calls: Calls, most: int) -> bool: ...
