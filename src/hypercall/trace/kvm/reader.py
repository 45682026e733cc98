"""A trace of KVM, whatever its format: read as events, or counted."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from hypercall.errors import InputError
from hypercall.trace.blocks import ReadInto, blocks, pieces, reads
from hypercall.trace.counts import TraceCounts
from hypercall.trace.events import Event, HypercallEvent
from hypercall.trace.kvm.event_format import common_offsets, layouts
from hypercall.trace.kvm.events import MOST_HELD, UNKNOWN_OUTCOME, EventBuilder
from hypercall.trace.kvm.scan import Calls, Kind, RingSource, Texts, TextSource
from hypercall.trace.kvm.text import LONGEST_LINE, looks_like_text
from hypercall.trace.kvm.trace_dat import MAGIC, Piece, TraceDat, chunks, read_trace_dat
from hypercall.trace.kvm.tracepoints import TRACEPOINTS, words
from hypercall.trace.shown import event_line, show_call
from hypercall.trace.statistics import Statistics
from hypercall.trace.strace import StraceWriter

FORMATS = ("auto", "text", "trace.dat")
"""The names of the formats, for people."""

_START = 1 << 16
_BATCH = 8192
_PLACES = 16
# How files begin that may be taken for traces, and what to do with them.
_OTHERS = {
    b"PERFILE2": "it is perf's own file: write it as text by `perf script --ns -i FILE`",
    b"\x1f\x8b": "it is compressed: decompress it by gunzip",
    b"\x28\xb5\x2f\xfd": "it is compressed: decompress it by unzstd",
    b"\xfd7zXZ": "it is compressed: decompress it by unxz",
}


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that could not be read.

    Attributes:
        place: where, as ``line 12`` or ``byte 0x1000``.
        what: what is wrong there.
    """

    place: str
    what: str


class KvmTrace:
    """A trace of KVM's tracepoints.

    A file may be read several times, a pipe once. What is damaged, and what is to be known of the
    trace, is there when it has been read to its end.

    Attributes:
        format: ``"text"`` or ``"trace.dat"``.
        seekable: whether it can be read again; not so a pipe, whose trace may still be made.
        damage: the first places that could not be read.
        damaged: how many places there are in all.
        notes: sentences on what the trace does not tell, or what was passed over.
    """

    def __init__(self, stream: BinaryIO, name: str, format: str = "auto") -> None:
        """Look at a trace.

        Args:
            stream: the trace; a file of the file system if it is a trace.dat.
            name: what to call it in messages.
            format: one of :data:`FORMATS`.

        Raises:
            InputError: it is none of the formats, or not the one that was given.
        """
        self._stream = stream
        self._name = name
        self.damage: list[Damage] = []
        self.damaged = 0
        self.notes: list[str] = []
        self._read = False
        self._others = 0
        self._header: TraceDat | None = None
        self._data = memoryview(b"")
        self.seekable = stream.seekable()
        self._start = stream.read(_START)
        self.format = _detect(self._start, name) if format == "auto" else format
        if self.format == "trace.dat":
            self._open_container()

    def _open_container(self) -> None:
        if not self.seekable:
            raise InputError(f"{self._name}: a trace.dat is read from a file, not from a pipe")
        try:
            mapping = mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise InputError(f"{self._name} cannot be read: {error}") from None
        self._data = memoryview(mapping)
        try:
            self._header = read_trace_dat(self._data)
        except InputError as error:
            raise InputError(f"{self._name}: {error}") from None

    def events(self, pids: Iterable[int] | None = None) -> Iterator[Event]:
        """Give the events in the order of their times.

        Times are those of the trace's clock in nanoseconds.

        Args:
            pids: ids of the threads to heed, or None for all.
        """
        builder = EventBuilder()
        calls = self._calls(True, pids)
        for _ in self._run(calls):
            yield from builder.add(calls.take(), calls.frontier())
        calls.finish()
        yield from builder.add(calls.take(), None)
        yield from builder.end()
        self._note_events(builder, calls)

    def text(self, pids: Iterable[int] | None = None) -> Iterator[bytes]:
        """Give the events as lines of text, in parts: what `StraceWriter` writes of them.

        The text of a call is made once for all calls that are equal in the trace.

        Args:
            pids: ids of the threads to heed, or None for all.
        """
        builder = EventBuilder()
        parts: list[str] = []
        writer = StraceWriter(parts.append, lambda address: None)

        def line(row: tuple[int, ...]) -> tuple[int, bytes] | None:
            event = builder.event(row)
            if event is None:
                return None
            writer.write(event)
            return event.position.time_ns, parts.pop().encode("utf-8", "replace")

        def what(row: tuple[int, ...]) -> bytes:
            event = builder.event(row)
            assert event is not None
            if isinstance(event, HypercallEvent):
                return show_call(event.record).line.encode("utf-8", "replace")
            return event_line(event).encode("utf-8", "replace")

        texts = Texts(line, what, builder.saw, MOST_HELD)
        calls = self._calls(False, pids, texts)
        for _ in self._run(calls):
            if part := texts.take(calls.frontier()):
                yield part
        calls.finish()
        yield texts.take(None)
        self._note_events(builder, calls)

    def _note_events(self, builder: EventBuilder, calls: Calls) -> None:
        if builder.numbered:
            self.notes.append(
                "the trace does not tell which virtual processor the threads"
                f" {_list(builder.numbered)} run: they are numbered as they come; record kvm_entry"
                " and kvm_exit too"
            )
        self._note(calls)

    def counts(self, pids: Iterable[int] | None = None) -> TraceCounts:
        """Count, without building any event.

        Args:
            pids: ids of the threads to heed, or None for all.
        """
        calls = self._calls(False, pids)
        for _ in self._run(calls):
            pass
        calls.finish()
        self._note(calls)
        counts = TraceCounts(Statistics(), others=self._others)
        for code, status, count, reps, first, last, total in calls.counters():
            counts.calls.add(
                code,
                status,
                UNKNOWN_OUTCOME if status is None else None,
                count=count,
                reps=reps,
                first_ns=first,
                last_ns=last,
                total_ns=total,
            )
        kinds = calls.kinds()
        counts.records = {
            point.name: kinds[point.kind] for point in TRACEPOINTS if kinds[point.kind]
        }
        span = calls.span()
        counts.span_ns = span[1] - span[0] if span else 0
        return counts

    def _calls(
        self, collect: bool, pids: Iterable[int] | None, texts: Texts | None = None
    ) -> Calls:
        names = self._header.virtual_processors if self._header is not None else ()
        return Calls(collect, pids, names, texts)

    def _run(self, calls: Calls) -> Iterator[None]:
        """Read everything; yield now and then."""
        if self._read:
            if not self.seekable:
                raise InputError(f"{self._name}: a pipe cannot be read twice")
            self._stream.seek(len(self._start))
        self._read = True
        self.damage, self.damaged, self.notes = [], 0, []
        self._others = 0
        if self._header is None:
            yield from self._run_text(calls, reads(self._stream), self._start)
            return
        header = self._header
        self.notes += header.notes
        for piece in header.text:
            yield from self._run_text(calls, pieces(chunk for _, chunk in self._chunks(piece, 1)))
        if header.processors:
            yield from self._run_rings(calls, header)

    def _run_text(self, calls: Calls, read: ReadInto, start: bytes = b"") -> Iterator[None]:
        source = TextSource(words())
        for block in blocks(read, LONGEST_LINE, start):
            if isinstance(block, int):
                source.too_long()
            else:
                source.feed(block, calls)
            yield
        for line, what, text in source.damage:
            shown = f": {text.decode('utf-8', 'replace')!r}" if text else ""
            self._add_damage(f"line {line}", what.decode() + shown, 0)
        self.damaged += source.unreadable
        self._others += source.others
        if source.counter_clock:
            self.notes.append("times without a point are taken for nanoseconds")

    def _run_rings(self, calls: Calls, header: TraceDat) -> Iterator[None]:
        page = header.page
        try:
            common = common_offsets(header.formats)
        except InputError as error:
            self._add_damage("the head", str(error))
            return
        source = RingSource(
            [self._chunks(piece, len(header.processors)) for piece in header.processors],
            layouts(header.formats),
            page.size,
            (page.commit_offset, page.commit_size),
            page.data_offset,
            common,
            header.conversion,
            header.added,
        )
        more = True
        while more:
            more = source.run(calls, _BATCH)
            yield
        for place, what in source.damage:
            self._add_damage(f"byte {place:#x}", what.decode(), 0)
        self.damaged += source.unreadable
        self._others += source.others
        if source.lost:
            self.notes.append(f"events were lost before {source.lost} pages of the ring buffers")
        if header.clock in ("x86-tsc", "counter") and not header.conversion[0]:
            self.notes.append(f"times of the clock {header.clock} are taken for nanoseconds")

    def _chunks(self, piece: Piece, pieces: int) -> Iterator[tuple[int, memoryview | bytes]]:
        assert self._header is not None
        return chunks(
            self._data,
            piece,
            self._header.compression,
            pieces,
            lambda place, what: self._add_damage(f"byte {place:#x}", what),
        )

    def _add_damage(self, place: str, what: str, count: int = 1) -> None:
        self.damaged += count
        if len(self.damage) < _PLACES:
            self.damage.append(Damage(place, what))

    def _note(self, calls: Calls) -> None:
        if calls.shared is not None:
            vcpu, first, second = calls.shared
            self.notes.append(
                f"the threads {first} and {second} both run virtual processor {vcpu}: the trace"
                " holds several guests; choose the threads of one by --pid"
            )
        if calls.crowded:
            self.notes.append("there are more threads or kinds of calls than are counted: 65,536")
        if calls.rows and not calls.kinds()[Kind.HYPERCALL]:
            self.notes.append("no hypercall was recorded: record kvm_hv_hypercall")


def open_kvm_trace(path: Path, format: str = "auto") -> KvmTrace:
    """Look at a trace in a file.

    Args:
        path: the file.
        format: one of :data:`FORMATS`.

    Raises:
        InputError: it cannot be read, or is none of the formats.
    """
    try:
        stream = path.open("rb")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be read: {reason}") from None
    return KvmTrace(stream, str(path), format)


def _detect(start: bytes, name: str) -> str:
    if start.startswith(MAGIC):
        return "trace.dat"
    if looks_like_text(start):
        return "text"
    reason = next((text for magic, text in _OTHERS.items() if start.startswith(magic)), None)
    if reason is None:
        reason = "it is empty" if not start else "its first lines are none of a trace"
    raise InputError(
        f"{name} is no trace of KVM (trace.dat, or text of tracefs, trace-cmd report or perf"
        f" script): {reason}"
    )


def _list(numbers: Iterable[int]) -> str:
    texts = [str(number) for number in sorted(numbers)]
    return ", ".join(texts[:8]) + (" and others" if len(texts) > 8 else "")
