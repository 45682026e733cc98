from collections.abc import Callable

class LineCounter:
    line: int
    first: int
    last: int
    symbols: dict[int, bytes]
    def __init__(self) -> None: ...
    def skip(self) -> None: ...
    def feed(self, block: bytes | memoryview) -> list[tuple[int, bytes]]: ...
    def counters(
        self,
    ) -> list[tuple[int, int | None, bytes | None, bool, int | None, int, int, int, int, int]]: ...

class LineTexts:
    line: int
    offset: int
    def __init__(
        self,
        other: Callable[[int, int, bytes, int], tuple[bytes, bytes | None]],
        symbols: dict[int, str],
    ) -> None: ...
    def skip(self, size: int) -> None: ...
    def feed(self, block: bytes | memoryview) -> bytes: ...
