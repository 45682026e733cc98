"""Texts of calls, made once: guests repeat themselves, and decoding costs more than all the rest.

The same interrupt to the same processors, the same flush: what is written of a call, apart from
when and where it was made, depends on nothing but its bytes.
"""

from __future__ import annotations

from collections.abc import Callable

from hypercall.abi.record import CallRecord

_MOST = 4096

_Key = tuple[int, int, int, bytes, bytes, int | None, str | None, bool]


class RememberedTexts:
    """Makes the text of a call by a function, but of equal calls only once."""

    def __init__(self, make: Callable[[CallRecord], str]) -> None:
        """Remember what ``make`` returns.

        Args:
            make: makes the text; it must not depend on the caller or on times.
        """
        self._make = make
        self._texts: dict[_Key, str] = {}

    def text(self, record: CallRecord) -> str:
        """Return the text of a call."""
        key = (
            record.control,
            record.input_register,
            record.output_register,
            record.input,
            record.output,
            record.result,
            record.fault,
            record.continued,
        )
        text = self._texts.get(key)
        if text is None:
            # Forgetting everything now and then is cheaper than knowing what is old.
            if len(self._texts) >= _MOST:
                self._texts.clear()
            text = self._texts[key] = self._make(record)
        return text
