"""Files and streams that a run writes to: buffered, flushed however the run ends, never raising."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from hypercall.cli.inputs import reason_of
from hypercall.errors import InputError

_BUFFER = 1 << 16


class Output:
    """One place that a trace or a console goes to.

    Writing happens in the middle of a guest's run, where an exception would leave the engine at a
    bad place. So a failure is kept, ``on_failure`` is told, and what comes later is dropped.

    Attributes:
        name: what to call it in messages.
        is_terminal: whether somebody is looking.
        failure: the first error, or None.
    """

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        on_failure: Callable[[], None],
        *,
        owned: bool,
        terminal: bool,
    ) -> None:
        """Write to a stream.

        Args:
            stream: where to.
            name: what to call it in messages.
            on_failure: called once, when the first write fails.
            owned: whether closing this closes the stream.
            terminal: whether somebody is looking: then every write is passed on at once.
        """
        self.name = name
        self.failure: OSError | None = None
        self._stream = stream
        self._on_failure = on_failure
        self._owned = owned
        self.is_terminal = terminal
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Write bytes, now or a little later."""
        self._parts.append(data)
        self._size += len(data)
        if self.is_terminal or self._size >= _BUFFER:
            self.flush()

    def write_text(self, text: str) -> None:
        """Write text as UTF-8; what UTF-8 cannot hold becomes a question mark."""
        self.write(text.encode("utf-8", "replace"))

    def flush(self) -> None:
        """Pass everything on."""
        if not self._parts:
            return
        data = memoryview(b"".join(self._parts))
        self._parts.clear()
        self._size = 0
        if self.failure is not None:
            return
        try:
            while data:
                # An unbuffered stream may take only a part.
                written = self._stream.write(data)
                data = data[written:]
            self._stream.flush()
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Flush, and close the stream if it is ours."""
        self.flush()
        if self._owned:
            try:
                self._stream.close()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error
            self._on_failure()


def open_output(
    target: str,
    standard: str,
    option: str,
    on_failure: Callable[[], None],
    *,
    append: bool = False,
) -> Output:
    """Open a file, or a standard stream for ``-``.

    Args:
        target: a path, or ``-``.
        standard: which standard stream ``-`` is: ``"output"`` or ``"error"``.
        option: the option that named the target, for messages.
        on_failure: called once, when a later write fails.
        append: whether to write behind what a file has.

    Raises:
        InputError: the file cannot be written.
    """
    if target == "-":
        text = sys.stdout if standard == "output" else sys.stderr
        text.flush()
        return Output(
            text.buffer,
            f"the standard {standard}",
            on_failure,
            owned=False,
            terminal=text.isatty(),
        )
    try:
        stream = Path(target).open("ab" if append else "wb", buffering=0)  # noqa: SIM115 - Output closes it
    except (OSError, ValueError) as error:
        raise InputError(f"{option}: cannot write {target}: {reason_of(error)}") from None
    return Output(stream, target, on_failure, owned=True, terminal=stream.isatty())
