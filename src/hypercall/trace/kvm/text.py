"""Traces in text: what tracefs, ``trace-cmd report`` and ``perf script`` write."""

from __future__ import annotations

from hypercall.trace.kvm.scan import Calls, TextSource
from hypercall.trace.kvm.tracepoints import words

LONGEST_LINE = 1 << 16
"""Bytes; a longer line is damage, and left out, unless a block holds the whole of it."""


def looks_like_text(start: bytes) -> bool:
    """Tell whether one of some lines is of a trace.

    Args:
        start: the first bytes of a file.
    """
    if start.startswith((b"# tracer:", b"cpus=")):
        return True
    source = TextSource(words())
    calls = Calls(collect=False)
    source.feed(start[: start.rfind(b"\n") + 1] or start, calls)
    return bool(calls.rows or source.others)
