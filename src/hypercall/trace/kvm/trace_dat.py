"""The container of trace-cmd, ``trace.dat``, in its versions 6 and 7.

Source: trace-cmd's manual pages ``trace-cmd.dat.v6(5)`` and ``trace-cmd.dat.v7(5)``. Only what is
needed is read: the descriptions of pages and events, the names of tasks, the clock, and where each
processor's ring buffer lies. Nothing in the file is executed, and no number in it makes this
allocate more than :data:`LARGEST_SECTION` bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hypercall.errors import InputError
from hypercall.trace.kvm.compression import decompressor
from hypercall.trace.kvm.event_format import EventFormat, PageFormat, parse_event, parse_page

MAGIC = b"\x17\x08\x44tracing"
LARGEST_SECTION = 64 << 20
"""The most bytes that a section may have when it is decompressed."""

_MOST_PROCESSORS = 4096
_MOST_SECTIONS = 4096
_CHUNKS_IN_MEMORY = 256 << 20
_LARGEST_CHUNK = 16 << 20
_TASK = re.compile(rb"^(\d{1,10}) CPU (\d{1,5})/KVM", re.MULTILINE)
_CLOCK = re.compile(rb"\[([\w-]+)\]")
_COMPRESSED = 1
_HEADER, _EVENTS, _TASKS = 16, 18, 21


class _Option:
    """The numbers of the options that are heeded."""

    DONE = 0
    DATE = 1
    BUFFER = 3
    TRACECLOCK = 4
    OFFSET = 7
    TSC2NSEC = 14
    HEADER_INFO = 16
    EVENT_FORMATS = 18
    CMDLINES = 21
    BUFFER_TEXT = 22


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the file.

    Attributes:
        offset: bytes from the file's start.
        size: bytes.
        compressed: whether it is chunks that are compressed.
    """

    offset: int
    size: int
    compressed: bool = False


@dataclass(slots=True)
class TraceDat:
    """What a file says of itself.

    Attributes:
        version: 6 or 7.
        page: how pages of the ring buffer begin.
        formats: the events described.
        processors: each processor's ring buffer.
        text: traces that are text.
        virtual_processors: pairs of a thread id and the virtual processor that its name tells.
        clock: the name of the clock, as ``local`` or ``x86-tsc``; empty where it is not told.
        conversion: multiplier and shift from the clock's time to nanoseconds, or zeros.
        added: nanoseconds to be added to each time.
        compression: the name of the compression of the pieces.
        notes: what was passed over.
    """

    version: int
    page: PageFormat
    formats: list[EventFormat] = field(default_factory=list)
    processors: list[Piece] = field(default_factory=list)
    text: list[Piece] = field(default_factory=list)
    virtual_processors: list[tuple[int, int]] = field(default_factory=list)
    clock: str = ""
    conversion: tuple[int, int] = (0, 0)
    added: int = 0
    compression: str = "none"
    notes: list[str] = field(default_factory=list)


class _Reader:
    """Reads numbers and texts one after the other; says where it was when there is no more."""

    def __init__(self, data: memoryview, place: int, what: str) -> None:
        self.data = data
        self.at = 0
        self._place = place
        self._what = what

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if size > len(self.data) - self.at:
            raise self.error(f"{size} bytes are announced where {len(self.data) - self.at} are")
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def number(self, code: str) -> int:
        """Return the next number, of a size as `struct` writes it."""
        (value,) = struct.unpack("<" + code, self.take(struct.calcsize(code)))
        return int(value)

    def text(self) -> bytes:
        """Return the bytes up to the next zero."""
        rest = bytes(self.data[self.at : self.at + 4096])
        end = rest.find(0)
        if end < 0:
            raise self.error("a text does not end")
        self.at += end + 1
        return rest[:end]

    def error(self, what: str) -> InputError:
        """Return the exception that tells this place."""
        return InputError(
            f"{self._what} is damaged at byte {self._place + self.at:#x} of the file: {what}"
        )


def read_trace_dat(data: memoryview) -> TraceDat:
    """Read everything but the ring buffers.

    Args:
        data: the whole file.

    Raises:
        InputError: it is no such file, one of another version or byte order, or its head is
            damaged, so that nothing of it can be read.
    """
    reader = _Reader(data, 0, "the head of this trace.dat")
    if reader.take(len(MAGIC)) != MAGIC:
        raise InputError("this is no trace.dat: it does not begin as one")
    version = reader.text()
    if version not in (b"6", b"7"):
        raise InputError(
            f"this trace.dat is of version {version[:20].decode('ascii', 'replace')}: only 6 and 7"
            " are known; convert it by `trace-cmd convert --file-version 7`"
        )
    if reader.number("B"):
        raise InputError("this trace.dat is of a big-endian machine: KVM's Hyper-V is x86 only")
    reader.number("B")
    page_size = reader.number("I")
    if version == b"6":
        return _Version6(data, reader, page_size).read()
    return _Version7(data, reader).read()


class _Version6:
    """Everything one after the other."""

    def __init__(self, data: memoryview, reader: _Reader, page_size: int) -> None:
        self._data = data
        self._reader = reader
        self._page_size = page_size

    def read(self) -> TraceDat:
        reader = self._reader
        found = TraceDat(6, _header_info(reader))
        found.formats += _format_list(reader)
        found.formats += _systems(reader)
        for code in ("I", "I"):
            # The kernel's symbols and the formats of trace_printk.
            size = reader.number(code)
            if size > len(reader.data) - reader.at:
                raise reader.error("a table is longer than the file")
            reader.at += size
        found.virtual_processors += _tasks(reader.take(reader.number("Q")))
        processors = reader.number("I")
        if processors > _MOST_PROCESSORS:
            raise reader.error(f"{processors} processors are announced")
        kind = reader.take(10)
        if kind == b"options  \0":
            while number := reader.number("H"):
                size = reader.number("I")
                option = _Reader(memoryview(reader.take(size)), reader.at - size, "an option")
                if number == _Option.BUFFER:
                    found.notes.append("buffers of other instances are passed over")
                else:
                    _read_option(found, number, option)
            kind = reader.take(10)
        if kind == b"latency  \0":
            found.text.append(Piece(reader.at, len(reader.data) - reader.at))
        elif kind == b"flyrecord\0":
            for _ in range(processors):
                offset, size = reader.number("Q"), reader.number("Q")
                found.processors.append(Piece(offset, size))
        else:
            raise reader.error("neither options nor the table of the processors' data is here")
        return found


class _Version7:
    """Sections that options point to."""

    def __init__(self, data: memoryview, reader: _Reader) -> None:
        self._data = data
        self._reader = reader
        name = reader.text().decode("ascii", "replace")
        reader.text()
        self._name = name
        self._first = reader.number("Q")

    def read(self) -> TraceDat:
        found = TraceDat(7, PageFormat(8, 8, 16, 0), compression=self._name)
        offset, places = self._first, set[int]()
        pages: set[int] = set()
        described = False
        while offset:
            if offset in places or len(places) >= _MOST_SECTIONS:
                raise InputError(f"the option sections of this trace.dat go round at {offset:#x}")
            places.add(offset)
            options = self._section(offset, "an option section")
            offset = 0
            while options.at < len(options.data):
                number, size = options.number("H"), options.number("I")
                start = options.at
                option = _Reader(memoryview(options.take(size)), start, "an option")
                match number:
                    case _Option.DONE:
                        offset = option.number("Q")
                        break
                    case _Option.HEADER_INFO:
                        found.page = _header_info(self._pointed(option, "the header section"))
                        described = True
                    case _Option.EVENT_FORMATS:
                        found.formats += _systems(self._pointed(option, "the event formats"))
                    case _Option.CMDLINES:
                        tasks = self._pointed(option, "the task names")
                        found.virtual_processors += _tasks(tasks.take(tasks.number("Q")))
                    case _Option.BUFFER:
                        pages.add(self._buffer(found, option))
                    case _Option.BUFFER_TEXT:
                        self._text_buffer(found, option)
                    case _:
                        _read_option(found, number, option)
        if found.processors and not described:
            raise InputError("this trace.dat has no description of its ring buffer pages")
        if len(pages) > 1:
            raise InputError("this trace.dat has ring buffers of several page sizes")
        if pages:
            size = pages.pop()
            if not found.page.data_offset + 16 <= size <= 1 << 20:
                raise InputError(f"this trace.dat has ring buffer pages of {size} bytes")
            page = found.page
            found.page = PageFormat(page.commit_offset, page.commit_size, page.data_offset, size)
        return found

    def _pointed(self, option: _Reader, what: str) -> _Reader:
        return self._section(option.number("Q"), what)

    def _section(self, offset: int, what: str) -> _Reader:
        """Return a reader of a section, decompressed if need be."""
        piece = self._piece(offset, what)
        data = self._data[piece.offset : piece.offset + piece.size]
        if not piece.compressed:
            return _Reader(data, piece.offset, what)
        if len(data) < 8:
            raise InputError(f"{what} at byte {offset:#x} of this trace.dat is cut off")
        packed, size = struct.unpack_from("<2I", data)
        if size > LARGEST_SECTION:
            raise InputError(f"{what} at byte {offset:#x} of this trace.dat has {size} bytes")
        unpack = decompressor(self._name)
        return _Reader(memoryview(unpack(data[8 : 8 + packed], size)), piece.offset, what)

    def _piece(self, offset: int, what: str) -> Piece:
        head = self._data[offset : offset + 16]
        if len(head) < 16:
            raise InputError(
                f"{what} of this trace.dat begins at byte {offset:#x}, where the file has no more"
                f" than {len(self._data)} bytes: the file is cut off"
            )
        _, flags, _, size = struct.unpack("<2HIQ", head)
        return Piece(offset + 16, size, bool(flags & _COMPRESSED))

    def _buffer(self, found: TraceDat, option: _Reader) -> int:
        piece = self._piece(option.number("Q"), "a ring buffer")
        option.text()
        clock = option.text()
        found.clock = found.clock or clock.decode("ascii", "replace")
        page_size, processors = option.number("I"), option.number("I")
        if processors > _MOST_PROCESSORS:
            raise option.error(f"{processors} processors are announced")
        for _ in range(processors):
            option.number("I")
            offset, size = option.number("Q"), option.number("Q")
            found.processors.append(Piece(offset, size, piece.compressed))
        return page_size

    def _text_buffer(self, found: TraceDat, option: _Reader) -> None:
        found.text.append(self._piece(option.number("Q"), "a trace in text"))


def chunks(
    data: memoryview,
    piece: Piece,
    compression: str,
    pieces: int,
    damaged: Callable[[int, str], None],
) -> Iterator[tuple[int, memoryview | bytes]]:
    """Give a processor's ring buffer, or a text, part by part.

    Args:
        data: the whole file.
        piece: which part of it.
        compression: the name of its compression.
        pieces: how many such are read at once; the memory for decompressed chunks is shared.
        damaged: told place and kind of any damage; what comes after it is left out.

    Yields:
        The place of a chunk in the file, and its bytes.
    """
    if not piece.size:
        return
    # The size of compressed data does not count the number of chunks before it.
    end = piece.offset + piece.size + (4 if piece.compressed else 0)
    if end > len(data):
        damaged(len(data), f"the file ends here, {end - len(data)} bytes before the data's end")
        end = len(data)
    if not piece.compressed:
        # Mapped, so that nothing of it is in memory that is not looked at.
        yield piece.offset, data[piece.offset : end]
        return
    most = max(min(_LARGEST_CHUNK, _CHUNKS_IN_MEMORY // max(pieces, 1)), 1 << 16)
    try:
        unpack = decompressor(compression)
    except InputError as error:
        damaged(piece.offset, str(error))
        return
    at = piece.offset
    if end - at < 4:
        damaged(at, "the number of chunks is cut off")
        return
    (count,) = struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(count):
        if end - at < 8:
            damaged(at, "a chunk is missing")
            return
        packed, size = struct.unpack_from("<2I", data, at)
        if packed > end - at - 8:
            damaged(at, "a compressed chunk is cut off")
            return
        if size > most:
            damaged(at, f"a chunk of {size} bytes is too large")
            return
        try:
            unpacked = unpack(data[at + 8 : at + 8 + packed], size)
        except InputError as error:
            # Chunks stand for themselves: the next one may be whole.
            damaged(at, str(error))
        else:
            yield at, unpacked
        at += 8 + packed


def _header_info(reader: _Reader) -> PageFormat:
    if reader.take(12) != b"header_page\0":
        raise reader.error("the description of pages is not here")
    text = reader.take(reader.number("Q"))
    if reader.take(13) != b"header_event\0":
        raise reader.error("the description of records is not here")
    reader.take(reader.number("Q"))
    try:
        return parse_page(text)
    except InputError as error:
        raise InputError(f"this trace.dat is damaged: {error}") from None


def _format_list(reader: _Reader) -> list[EventFormat]:
    found = []
    for _ in range(reader.number("I")):
        event = parse_event(reader.take(reader.number("Q")))
        if event is not None:
            found.append(event)
    return found


def _systems(reader: _Reader) -> list[EventFormat]:
    found = []
    for _ in range(reader.number("I")):
        reader.text()
        found += _format_list(reader)
    return found


def _tasks(text: bytes) -> list[tuple[int, int]]:
    return [(int(match[1]), int(match[2])) for match in _TASK.finditer(text)]


def _read_option(found: TraceDat, number: int, option: _Reader) -> None:
    """Heed what both versions have."""
    if number in (_Option.DATE, _Option.OFFSET):
        text = option.data.tobytes().split(b"\0")[0].decode("ascii", "replace")
        try:
            value = int(text, 0)
        except ValueError:
            raise option.error(f"{text[:40]!r} is no offset of the times") from None
        found.added += value * (1000 if number == _Option.DATE else 1)
        if abs(found.added) >> 62:
            raise option.error("the offset of the times has more than 62 bits")
    elif number == _Option.TRACECLOCK:
        clock = _CLOCK.search(option.data)
        if clock is not None:
            found.clock = found.clock or clock[1].decode()
    elif number == _Option.TSC2NSEC:
        # The offset after them is not applied by trace-cmd either.
        multiplier, shift = option.number("I"), option.number("I")
        if shift > 63:
            raise option.error(f"times are to be shifted by {shift}")
        found.conversion = (multiplier, shift)
