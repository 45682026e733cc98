"""The symbols that a Linux kernel carries about itself, found in a memory image without help.

The kernel keeps, next to each other in its read-only data, these arrays (``scripts/kallsyms.c``
and ``kernel/kallsyms.c`` of the kernel describe them; each starts on 8 bytes, or as its words
demand in newer kernels):

========================  =======================================================================
``kallsyms_num_syms``     u32, the number of symbols
``kallsyms_names``        per symbol a length (one byte, or two where bit 7 is set) and as many
                          token numbers; the text starts with the type letter
``kallsyms_markers``      u32 per 256 symbols: where in the names the next one starts
``kallsyms_token_table``  256 texts, each ended by a zero byte
``kallsyms_token_index``  u16 per token: where in the token table it starts
``kallsyms_offsets``      i32 per symbol: see :func:`_addresses`
``kallsyms_relative_base``  u64, patched with the other pointers when the kernel is moved (KASLR)
                          ; newer kernels have none, see :func:`_relative_addresses`
========================  =======================================================================

Up to 6.3 the last two come first; from 6.4 on they follow the token index. 6.2 and 6.3 have three
bytes per symbol (``kallsyms_seqs_of_names``) between the markers and the token table.
"""

from __future__ import annotations

import contextlib
import re
import struct
from array import array
from typing import NamedTuple

from hypercall.trace.symbols import KERNEL_HALF, SymbolTable

# Every character that occurs in a name stands for itself, so the ten digits are ten neighbouring
# one-character tokens in every kernel.
_DIGIT_TOKENS = re.compile(re.escape(b"".join(b"%d\0" % digit for digit in range(10))))
_TOKENS = 256
_SYMBOLS_PER_MARKER = 256
_LONGEST_NAME = 512
_MOST_SPELLINGS = 4096
# How far the kernel's addresses are from physical ones if it was not moved (__START_KERNEL_map).
_KERNEL_MAP = 0xFFFF_FFFF_8000_0000


def _align(position: int, to: int = 8) -> int:
    return (position + to - 1) & -to


class _Tokens(NamedTuple):
    start: int
    end: int
    texts: list[bytes]


class _Names(NamedTuple):
    count_position: int
    names: int
    markers_position: int
    markers: array[int]


class KallsymsNames:
    """The names of a kernel's symbols, decoded one by one when asked for."""

    def __init__(
        self, packed: bytes, markers: array[int], tokens: list[bytes], first: int, count: int
    ) -> None:
        """Decode from ``packed``; index 0 is symbol ``first`` and there are ``count`` names."""
        self._packed = packed
        self._markers = markers
        self._tokens = tokens
        self._first = first
        self._count = count
        self._known: dict[int, str] = {}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> str:
        if not 0 <= index < self._count:
            raise IndexError(index)
        name = self._known.get(index)
        if name is None:
            # Names can only be walked forward: decode all of this marker's while we are here.
            block = (index + self._first) // _SYMBOLS_PER_MARKER
            self._decode_block(block)
            name = self._known[index]
        return name

    def indexes_of(self, name: str) -> list[int]:
        """Return the indexes of all names that are equal to ``name``, in ascending order.

        Decoding all names takes ten times as long as looking for one as it would be written.
        """
        written = _spellings(name.encode("ascii", "replace"), self._tokens)
        lengths = {len(each) for each in written}
        packed, found = self._packed, []
        position = 0
        # The guest owns these bytes and may have damaged them: they may end too early.
        with contextlib.suppress(IndexError):
            for index in range(-self._first, self._count):
                length = packed[position]
                position += 1
                if length & 0x80:
                    length = length & 0x7F | packed[position] << 7
                    position += 1
                if length in lengths and packed[position : position + length] in written:
                    found.append(index)
                position += length
        return [index for index in found if index >= 0]

    def _decode_block(self, block: int) -> None:
        packed, tokens, known = self._packed, self._tokens, self._known
        position = self._markers[block]
        first = block * _SYMBOLS_PER_MARKER - self._first
        for index in range(first, min(first + _SYMBOLS_PER_MARKER, self._count)):
            # The guest owns these bytes and may have damaged them: slices never fail.
            length = int.from_bytes(packed[position : position + 1])
            position += 1
            if length & 0x80:
                length = (length & 0x7F) | int.from_bytes(packed[position : position + 1]) << 7
                position += 1
            if index >= 0:
                text = b"".join([tokens[token] for token in packed[position : position + length]])
                known[index] = text[1:].decode("ascii", "replace") or "?"
            position += length


def _spellings(name: bytes, tokens: list[bytes]) -> frozenset[bytes]:
    """Return the token numbers that stand for a name behind any type letter."""
    numbers: dict[bytes, list[int]] = {}
    for number, text in enumerate(tokens):
        numbers.setdefault(text, []).append(number)
    # The ways to write each end of the name, the shortest first.
    ends: list[list[bytes]] = [[b""]]
    for start in range(len(name) - 1, -1, -1):
        ways = [
            bytes([number]) + rest
            for end in range(start + 1, len(name) + 1)
            for number in numbers.get(name[start:end], ())
            for rest in ends[len(name) - end]
        ]
        ends.append(ways[:_MOST_SPELLINGS])
    return frozenset(
        bytes([number]) + rest
        for number, text in enumerate(tokens)
        if text[:1].isalpha() and name.startswith(text[1:])
        for rest in ends[len(name) + 1 - len(text)]
    )


def find_kallsyms(
    image: memoryview, running_at: int | None = None, running_offset: int | None = None
) -> SymbolTable | None:
    """Find a Linux kernel's own symbol table in a piece of guest memory.

    Args:
        image: bytes of guest-physical memory that hold the kernel (or an uncompressed vmlinux),
            from a multiple of 8; more around it does no harm but takes longer.
        running_at: an address in the running kernel, for instance the call site of a hypercall. A
            table that does not cover it is passed over: the decompressor can leave a second copy
            behind that was not moved.
        running_offset: where in the image that address lies. Without it a kernel of the newest
            kind has symbols only if neither address is given; it is taken for one that was not
            moved then, and the image for the memory from address 0.

    Returns:
        The table with the addresses at which the kernel runs (a move by KASLR is included, because
        the base is read from memory), or None if there is no complete table. Symbols that are
        offsets into the per-processor areas are left out: they are not addresses.
    """
    if running_at is not None and running_at < KERNEL_HALF:
        # Not the address of a kernel: a small guest, which may have much memory to search.
        return None
    distance = None
    if running_at is None:
        distance = _KERNEL_MAP
    elif running_offset is not None:
        distance = running_at - running_offset
    position = 0
    while match := _DIGIT_TOKENS.search(image, position):
        position = match.start() + 1
        tokens = _find_tokens(image, match.start())
        if tokens is None:
            continue
        names = _find_names(image, tokens)
        if names is None:
            continue
        table = _table(image, tokens, names, distance)
        if table is not None and (running_at is None or table.find(running_at) is not None):
            return table
    return None


def _find_tokens(image: memoryview, digits: int) -> _Tokens | None:
    """Find the token table around the token of the digit 0, by the index that follows it."""
    # A token is at most the longest name, but together they are a few hundred bytes to some KiB.
    tail = bytes(image[digits : digits + 0x4000])
    end = 0
    for _ in range(_TOKENS - ord("0")):
        end = tail.find(b"\0", end) + 1
        if not end:
            return None
    for alignment in (8, 4, 2):
        index_position = _align(digits + end, alignment)
        if index_position + 2 * _TOKENS > len(image):
            continue
        index = struct.unpack_from(f"<{_TOKENS}H", image, index_position)
        start = digits - index[ord("0")]
        if index[0] != 0 or start < 0 or start % 4 or any(map(int.__ge__, index, index[1:])):
            continue
        texts = bytes(image[start : digits + end]).split(b"\0")
        # The last piece is what follows the last zero byte: nothing.
        if len(texts) == _TOKENS + 1:
            return _Tokens(start, index_position + 2 * _TOKENS, texts[:-1])
    return None


def _find_names(image: memoryview, tokens: _Tokens) -> _Names | None:
    """Find the markers and names that end where the token table, or an array before it, starts."""
    # Directly before the token table; or, in 6.2 and 6.3, before 3 bytes per symbol.
    found = _names_before(image, tokens.start)
    if found is not None:
        return found
    words = array("I", bytes(image[max(0, tokens.start - 0x20_0000) & ~7 : tokens.start]))
    base = tokens.start - 4 * len(words)
    for word in range(len(words) - 2, 0, -2):
        # A zero followed by a first marker of some 256 names' length, with that array's end at
        # the distance that the number of symbols demands.
        if words[word] == 0 and _SYMBOLS_PER_MARKER < words[word + 1] < 0x8000:
            last = word + 1
            while last + 1 < len(words) and words[last] < words[last + 1] < words[last] + 0x8000:
                last += 1
            found = _names_before(image, _align(base + 4 * (last + 1)))
            if found is not None:
                return found
    return None


def _names_before(image: memoryview, markers_end: int) -> _Names | None:
    found = _find_markers(image, markers_end)
    if found is None:
        return None
    start, end = found
    markers = array("I", bytes(image[start:end]))
    # The names start a little more than the last marker's distance before the markers.
    nearest = start - markers[-1]
    farthest = nearest - _SYMBOLS_PER_MARKER * _LONGEST_NAME
    for names in range(nearest & ~3, max(8, farthest), -4):
        for count_position in (names - 4,) if names % 8 else (names - 8, names - 4):
            count = _word(image, count_position)
            if -(-count // _SYMBOLS_PER_MARKER) != len(markers):
                continue
            if _names_end(image, names + markers[-1], count, start) and (
                len(markers) == 1
                or _walk(image, names, _SYMBOLS_PER_MARKER, start) == names + markers[1]
            ):
                return _Names(count_position, names, start, markers)
    return None


def _find_markers(image: memoryview, end: int) -> tuple[int, int] | None:
    """Walk back over ascending u32 from ``end`` to the zero that every marker array starts with."""
    position = end - 4
    if position >= 4 and not _word(image, position):
        # Padding up to the next multiple of 8: no marker but the first is zero.
        end, position = position, position - 4
    if position < 0:
        return None
    following = _word(image, position)
    while following:
        position -= 4
        if position < 0:
            return None
        value = _word(image, position)
        if value >= following:
            return None
        following = value
    return position, end


def _word(image: memoryview, position: int) -> int:
    word: int = struct.unpack_from("<I", image, position)[0]
    return word


def _walk(image: memoryview, position: int, count: int, limit: int) -> int | None:
    """Return the position after ``count`` packed names, or None if they run past ``limit``."""
    for _ in range(count):
        if position >= limit:
            return None
        length = image[position]
        position += 1
        if length & 0x80:
            length = (length & 0x7F) | image[position] << 7
            position += 1
        if not 0 < length < _LONGEST_NAME:
            return None
        position += length
    return position


def _names_end(image: memoryview, last_marker: int, count: int, limit: int) -> bool:
    """Tell whether the names of the last marker end where the markers (at ``limit``) start."""
    rest = count % _SYMBOLS_PER_MARKER or _SYMBOLS_PER_MARKER
    end = _walk(image, last_marker, rest, limit)
    return end is not None and limit in (_align(end), _align(end, 4))


def _table(
    image: memoryview, tokens: _Tokens, found: _Names, distance: int | None
) -> SymbolTable | None:
    """Read the addresses, which are after the token index or before the names."""
    count = _word(image, found.count_position)
    before = found.count_position - 8
    after = _align(tokens.end)
    addresses = None
    # (offsets, relative base) of 6.4 and later, then of the kernels before.
    for offsets_at, base_at in (
        (after, _align(after + 4 * count)),
        (before - _align(4 * count), before),
    ):
        if offsets_at < 0 or base_at + 8 > len(image):
            continue
        base = struct.unpack_from("<Q", image, base_at)[0]
        if base >= KERNEL_HALF:
            offsets = array("i", bytes(image[offsets_at : offsets_at + 4 * count]))
            addresses = _addresses(offsets, base)
            if addresses is not None:
                break
    at = _align(tokens.end, 4)
    if addresses is None and distance is not None and at + 4 * count <= len(image):
        addresses = _relative_addresses(bytes(image[at : at + 4 * count]), at + distance)
    if not addresses or len(addresses) > count:
        return None
    names = KallsymsNames(
        bytes(image[found.names : found.markers_position]),
        found.markers,
        tokens.texts,
        count - len(addresses),
        len(addresses),
    )
    return SymbolTable(addresses, names)


def _addresses(offsets: array[int], base: int) -> list[int] | None:
    """Turn offsets into ascending addresses, or None if they cannot be offsets.

    With CONFIG_KALLSYMS_ABSOLUTE_PERCPU an offset that is not negative is an absolute value (an
    offset into a per-processor area; these come first and are left out), and a negative one means
    ``base - 1 - offset``. Without, every offset is a distance from the base.
    """
    first_negative = next((i for i, offset in enumerate(offsets) if offset < 0), len(offsets))
    if first_negative < len(offsets):
        top = base - 1
        addresses = [top - offset for offset in offsets[first_negative:]]
    else:
        addresses = [base + offset for offset in offsets]
    if addresses[-1] >> 64 or any(map(int.__gt__, addresses, addresses[1:])):
        return None
    return addresses


def _relative_addresses(data: bytes, start: int) -> list[int] | None:
    """Turn distances into ascending addresses, or None if they cannot be that.

    In the newest kernels (7.3) each word is the distance of its symbol from the word itself, and
    nothing in the table tells where that is.

    Args:
        data: the words.
        start: the address at which the kernel has the first of them.
    """
    places = range(start, start + len(data), 4)
    addresses = [place + word for place, word in zip(places, array("i", data), strict=True)]
    if not addresses or addresses[0] < KERNEL_HALF or addresses[-1] >> 64:
        return None
    return None if any(map(int.__gt__, addresses, addresses[1:])) else addresses
