"""Texts of calls, made once: guests repeat themselves, and decoding costs more than all the rest.

The same interrupt to the same processors, the same flush: what is written of a call, apart from
when and where it was made, depends on nothing but its bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from hypercall.abi.record import CallRecord

_MOST = 4096

_Key = tuple[int, int, int, bytes, bytes, int | None, str | None, bool, bool, tuple[str, ...]]


_Made = TypeVar("_Made")


class Remembered(Generic[_Made]):
    """Makes something of a call by a function, but of equal calls only once."""

    def __init__(self, make: Callable[[CallRecord], _Made]) -> None:
        """Remember what ``make`` returns.

        Args:
            make: makes it; what it makes must not depend on the caller or on times.
        """
        self._make = make
        self._made: dict[_Key, _Made] = {}

    def of(self, record: CallRecord) -> _Made:
        """Return what was made of a call."""
        key = (
            record.control,
            record.input_register,
            record.output_register,
            record.input,
            record.output,
            record.result,
            record.fault,
            record.continued,
            record.injected,
            record.unknown,
        )
        made = self._made.get(key)
        if made is None:
            # Forgetting everything now and then is cheaper than knowing what is old.
            if len(self._made) >= _MOST:
                self._made.clear()
            made = self._made[key] = self._make(record)
        return made
