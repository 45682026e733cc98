# cython: language_level=3, boundscheck=False, cdivision=True, profile=False
"""Counts the hypercalls in lines of JSON, as `hypercall.trace.jsonl` writes them, or shows them.

A line that has the writer's order of keys is read here, without building anything; any other is
handed back. The bytes are a stranger's: each read is preceded by a comparison with the end.
"""

from libc.stdint cimport UINT64_MAX, int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset

cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t size, const void *needle, size_t length)
    void *memrchr(const void *haystack, int letter, size_t size)

cdef enum:
    MOST_COUNTERS = 1 << 20
    MOST_FAULTS = 256
    MOST_SYMBOLS = 65536
    LONGEST_FAULT = 64
    # Bytes from the key of the result to the end of the fault, at the most.
    LONGEST_OUTCOME = 190
    HAS_STATUS = 1 << 16
    HAS_SITE = 1 << 17
    CONTINUED = 1 << 18
    FAULT_SHIFT = 20

cdef struct Counter:
    # The code, and the flags and the fault of the outcome.
    uint64_t call
    # The status above, and whether it is known in `call`.
    uint64_t status
    uint64_t site
    uint64_t count
    uint64_t reps
    uint64_t first
    uint64_t last
    uint64_t total
    # Whether the name of the site is known, or there are too many names.
    bint named


cdef struct Start:
    # What a line says before the call itself.
    uint64_t time
    uint64_t vp
    uint64_t vtl
    uint64_t rip
    uint64_t site
    bint has_site
    const char *symbol
    Py_ssize_t length
    uint64_t duration


cdef class LineCounter:
    """Counts lines."""

    cdef Counter *_counters
    cdef int _used, _room
    cdef dict _by_key
    cdef int32_t _near[512]
    cdef list _faults
    cdef readonly dict symbols
    cdef readonly uint64_t line
    cdef readonly uint64_t first
    cdef readonly uint64_t last

    def __cinit__(self):
        self._counters = NULL
        self._used = self._room = 0
        memset(self._near, 0xFF, sizeof(self._near))

    def __init__(self):
        self._by_key = {}
        self._faults = [None]
        self.symbols = {}
        self.line = 0
        self.first = UINT64_MAX
        self.last = 0

    def __dealloc__(self):
        free(self._counters)

    def skip(self):
        """Count a line that is not looked at."""
        self.line += 1

    def feed(self, const unsigned char[::1] block):
        """Count whole lines.

        Args:
            block: lines; the last need not end.

        Returns:
            Number and bytes of each line that is not in the writer's form.
        """
        cdef const char *at
        cdef const char *end
        cdef const char *stop
        others = []
        if block.shape[0] == 0:
            return others
        at = <const char *>&block[0]
        end = at + block.shape[0]
        while at < end:
            stop = <const char *>memchr(at, 10, end - at)
            if stop == NULL:
                stop = end
            self.line += 1
            if not self._call(at, stop):
                others.append((self.line, at[:stop - at]))
            at = stop + 1
        return others

    cdef bint _call(self, const char *at, const char *end) except -1:
        """Count a line if it is of a hypercall and in the writer's form."""
        cdef uint64_t code, result = 0, flags = 0, ignored
        cdef Start start
        cdef const char *stop
        if not read_start(&at, end, &start):
            return False
        if start.has_site:
            flags |= HAS_SITE
        if not _word(&at, end, ',"call":"', 9):
            return False
        stop = <const char *>memchr(at, 34, end - at)
        if stop == NULL:
            return False
        at = stop + 1
        if not _word(&at, end, ',"code":', 8) or not _decimal(&at, end, &code) or code > 0xFFFF:
            return False
        # The bytes of input and output come last, and may be long: they are passed from the end.
        if end > at and end[-1] == 13:
            end -= 1
        if not _word_before(at, &end, '"}', 2) or not _text_before(at, &end) \
                or not _word_before(at, &end, ',"output":', 10) \
                or not _word_before(at, &end, '"', 1) or not _text_before(at, &end) \
                or not _word_before(at, &end, ',"input":', 9):
            return False
        if end - at > LONGEST_OUTCOME:
            at = end - LONGEST_OUTCOME
        # No text has a quotation mark that is not escaped, so this is the key.
        at = <const char *>memmem(at, end - at, <const char *>',"result":', 10)
        if at == NULL:
            return False
        at += 10
        if not _word(&at, end, 'null', 4):
            if not _word(&at, end, '"0x', 3) or not _hexadecimal(&at, end, &result):
                return False
            flags |= HAS_STATUS
        if not _word(&at, end, ',"reps_completed":', 18) or not _decimal(&at, end, &ignored):
            return False
        if not _word(&at, end, ',"continued":', 13):
            return False
        if _word(&at, end, 'true', 4):
            flags |= CONTINUED
        elif not _word(&at, end, 'false', 5):
            return False
        if not _word(&at, end, ',"fault":', 9):
            return False
        if not _word(&at, end, 'null', 4):
            if at >= end or at[0] != 34:
                return False
            stop = <const char *>memchr(at + 1, 34, end - at - 1)
            if stop == NULL or stop - at > LONGEST_FAULT or memchr(at + 1, 92, stop - at - 1) != NULL:
                return False
            fault = self._fault(at[1:stop - at])
            if fault < 0:
                return False
            flags |= <uint64_t>fault << FAULT_SHIFT
            at = stop + 1
        if at != end:
            return False
        return self._count(code | flags << 16, result, &start)

    cdef int _fault(self, bytes text) except -2:
        if text in self._faults:
            return self._faults.index(text)
        if len(self._faults) == MOST_FAULTS:
            return -1
        self._faults.append(text)
        return len(self._faults) - 1

    cdef bint _count(self, uint64_t call, uint64_t result, Start *start) except -1:
        cdef uint64_t site = start.site, time = start.time
        cdef uint64_t status = result & 0xFFFF
        cdef uint64_t mixed = (call ^ call >> 16) * 31 + status * 17 + (site ^ site >> 9) * 7
        cdef int slot = <int>(mixed & 511)
        cdef int at = self._near[slot]
        cdef Counter *counter
        cdef Counter *grown
        if at < 0 or self._counters[at].call != call or self._counters[at].status != status \
                or self._counters[at].site != site:
            key = (call, status, site)
            found = self._by_key.get(key)
            if found is None:
                if self._used == MOST_COUNTERS:
                    return False
                if self._used == self._room:
                    room = self._room * 2 if self._room else 64
                    grown = <Counter *>realloc(self._counters, room * sizeof(Counter))
                    if grown == NULL:
                        raise MemoryError
                    self._counters = grown
                    self._room = room
                at = self._used
                self._used += 1
                memset(&self._counters[at], 0, sizeof(Counter))
                self._counters[at].call = call
                self._counters[at].status = status
                self._counters[at].site = site
                self._counters[at].first = UINT64_MAX
                self._by_key[key] = at
            else:
                at = found
            self._near[slot] = at
        counter = &self._counters[at]
        if start.symbol != NULL and start.has_site and not counter.named:
            counter.named = True
            if site not in self.symbols and len(self.symbols) < MOST_SYMBOLS:
                self.symbols[site] = start.symbol[:start.length]
        counter.count += 1
        counter.total += start.duration
        if not call >> 16 & CONTINUED:
            counter.reps += result >> 32 & 0xFFF
        if time < counter.first:
            counter.first = time
        if time > counter.last:
            counter.last = time
        if time < self.first:
            self.first = time
        if time > self.last:
            self.last = time
        return True

    def counters(self):
        """Return for each outcome and call site what was counted.

        Returns:
            Code, status or None, fault or None, whether it was to be continued, call site or None,
            count, reps, first, last, total.
        """
        cdef int at
        cdef uint64_t flags
        found = []
        for at in range(self._used):
            flags = self._counters[at].call >> 16
            found.append((
                self._counters[at].call & 0xFFFF,
                self._counters[at].status if flags & HAS_STATUS else None,
                self._faults[flags >> FAULT_SHIFT],
                bool(flags & CONTINUED),
                self._counters[at].site if flags & HAS_SITE else None,
                self._counters[at].count,
                self._counters[at].reps,
                self._counters[at].first,
                self._counters[at].last,
                self._counters[at].total,
            ))
        return found


cdef bint read_start(const char **place, const char *end, Start *start) noexcept:
    """Go past what comes before the call itself, if it is in the writer's form."""
    cdef const char *at = place[0]
    cdef const char *stop
    start.site = 0
    start.has_site = False
    start.symbol = NULL
    start.length = 0
    if not _word(&at, end, '{"event":"hypercall","time_ns":', 31) \
            or not _decimal(&at, end, &start.time) \
            or not _word(&at, end, ',"vp":', 6) or not _decimal(&at, end, &start.vp) \
            or not _word(&at, end, ',"vtl":', 7) or not _decimal(&at, end, &start.vtl) \
            or not _word(&at, end, ',"rip":"0x', 10) or not _hexadecimal(&at, end, &start.rip) \
            or not _word(&at, end, ',"call_site":', 13):
        return False
    if not _word(&at, end, 'null', 4):
        if not _word(&at, end, '"0x', 3) or not _hexadecimal(&at, end, &start.site):
            return False
        start.has_site = True
    if not _word(&at, end, ',"symbol":', 10):
        return False
    if not _word(&at, end, 'null', 4):
        if at >= end or at[0] != 34:
            return False
        start.symbol = at + 1
        stop = <const char *>memchr(start.symbol, 34, end - start.symbol)
        # A name has no characters that are escaped.
        if stop == NULL or memchr(start.symbol, 92, stop - start.symbol) != NULL:
            return False
        start.length = stop - start.symbol
        at = stop + 1
    if not _word(&at, end, ',"duration_ns":', 15) or not _decimal(&at, end, &start.duration):
        return False
    place[0] = at
    return start.vp < <uint64_t>1 << 32 and start.vtl < 16


cdef inline bint _word(const char **place, const char *end, const char *word, int length) noexcept:
    """Go past a word, if it is there."""
    if end - place[0] < length or memcmp(place[0], word, length) != 0:
        return False
    place[0] += length
    return True


cdef inline bint _word_before(const char *start, const char **end, const char *word,
                              int length) noexcept:
    """Go back before a word, if it is there."""
    if end[0] - start < length or memcmp(end[0] - length, word, length) != 0:
        return False
    end[0] -= length
    return True


cdef inline bint _text_before(const char *start, const char **end) noexcept:
    """Go back before a text without its last quotation mark, if one begins somewhere."""
    cdef const char *found = <const char *>memrchr(start, 34, end[0] - start)
    if found == NULL:
        return False
    end[0] = found
    return True


cdef inline bint _decimal(const char **place, const char *end, uint64_t *number) noexcept:
    """Go past a number of 64 bits, if it is there."""
    cdef const char *at = place[0]
    cdef const char *start = at
    cdef uint64_t value = 0
    while at < end and 48 <= at[0] <= 57:
        if value > (UINT64_MAX - 9) // 10:
            return False
        value = value * 10 + (at[0] - 48)
        at += 1
    number[0] = value
    place[0] = at
    # No number of JSON begins with a zero but zero itself.
    return at - start == 1 or (at > start and start[0] != 48)


cdef inline bint _hexadecimal(const char **place, const char *end, uint64_t *number) noexcept:
    """Go past a hexadecimal number of 64 bits and the quotation mark after it."""
    cdef const char *at = place[0]
    cdef const char *start = at
    cdef uint64_t value = 0
    while at < end and at - start < 17:
        if 48 <= at[0] <= 57:
            value = value << 4 | <uint64_t>(at[0] - 48)
        elif 97 <= at[0] <= 102:
            value = value << 4 | <uint64_t>(at[0] - 87)
        else:
            break
        at += 1
    if at == start or at - start > 16 or at >= end or at[0] != 34:
        return False
    number[0] = value
    place[0] = at + 1
    return True


include "strace_lines.pxi"


cdef enum:
    # The texts that are kept: so many sets of so many.
    SETS = 2048
    WAYS = 4
    LONGEST_KEY = 4096
    LONGEST_TEXT = 4096
    LONGEST_NAME = 1024
    NEAR_NAMES = 1024

cdef struct Kept:
    uint64_t hash
    # What a line says of the call itself, and right behind it the text of that.
    char *key
    uint32_t key_size
    uint32_t text_size


cdef class LineTexts:
    """Shows lines as `hypercall.trace.strace` does.

    The call itself, apart from when and where it was made, is decoded by the function that this is
    given; equal calls are equal bytes in their lines, and decoded once.
    """

    cdef Kept *_kept
    cdef Written _written
    cdef object _other
    cdef dict _symbols
    cdef uint64_t _near_sites[NEAR_NAMES]
    cdef list _near_names
    cdef readonly uint64_t line
    cdef readonly uint64_t offset

    def __cinit__(self):
        self._written.data = NULL
        self._written.used = self._written.room = 0
        self._kept = <Kept *>calloc(SETS * WAYS, sizeof(Kept))
        if self._kept == NULL:
            raise MemoryError

    def __init__(self, other, dict symbols):
        """Show lines.

        Args:
            other: called for a line whose text is not known: with its number, its offset in the
                file, its bytes, and where in them the call itself begins, or -1 where it is not in
                the writer's form. It returns the whole line of text, and the text of the call
                alone if that is all there is to know of it, or None.
            symbols: the names of addresses that were read so far; shared with ``other``.
        """
        self._other = other
        self._symbols = symbols
        self._near_names = [None] * NEAR_NAMES
        self.line = 0
        self.offset = 0

    def __dealloc__(self):
        cdef int index
        for index in range(SETS * WAYS):
            free(self._kept[index].key)
        free(self._kept)
        free(self._written.data)

    def skip(self, uint64_t size):
        """Count a line of so many bytes that is not looked at."""
        self.line += 1
        self.offset += size

    def feed(self, const unsigned char[::1] block):
        """Show whole lines.

        Args:
            block: lines; the last need not end.

        Returns:
            Their text.
        """
        cdef const char *at
        cdef const char *end
        cdef const char *stop
        cdef const char *next
        if block.shape[0] == 0:
            return b""
        at = <const char *>&block[0]
        end = at + block.shape[0]
        self._written.used = 0
        while at < end:
            stop = <const char *>memchr(at, 10, end - at)
            next = end if stop == NULL else stop + 1
            self.line += 1
            self._show(at, end if stop == NULL else stop, next)
            self.offset += next - at
            at = next
        return self._written.data[:self._written.used]

    cdef int _show(self, const char *at, const char *end, const char *next) except -1:
        cdef const char *call = at
        cdef Start start
        cdef Kept *kept = NULL
        cdef uint64_t mixed = 0
        cdef Py_ssize_t size = -1
        cdef bint simple = read_start(&call, end, &start) and is_plain(start.symbol, start.length)
        if simple:
            size = end - call
            if size > LONGEST_KEY:
                simple = False
        if simple:
            mixed = mix(call, size)
            kept = self._find(mixed, call, size)
            if kept != NULL:
                make_room(&self._written, AROUND_TEXTS + kept.text_size + LONGEST_NAME)
                put_position(&self._written, start.time, start.vp, start.vtl)
                put_text(&self._written, kept.key + kept.key_size, kept.text_size)
                put_duration(&self._written, start.duration)
                self._put_site(&start)
                put_letter(&self._written, 10)
                return 0
        line, text = self._other(self.line, self.offset, at[:next - at],
                                 call - at if simple else -1)
        self._append(line)
        if text is not None and len(text) <= LONGEST_TEXT:
            self._keep(mixed, call, size, text)
        return 0

    cdef int _append(self, bytes line) except -1:
        cdef const char *text = line
        make_room(&self._written, len(line))
        put_text(&self._written, text, len(line))
        return 0

    cdef int _put_site(self, Start *start) except -1:
        cdef uint64_t address = start.site if start.has_site else start.rip
        cdef int slot = <int>((address ^ address >> 10 ^ address >> 20) & (NEAR_NAMES - 1))
        cdef bytes shown
        name = self._near_names[slot]
        if name is None or self._near_sites[slot] != address:
            if start.symbol != NULL and address not in self._symbols \
                    and len(self._symbols) < MOST_SYMBOLS:
                self._symbols[address] = start.symbol[:start.length].decode("ascii")
            name = self._symbols.get(address)
            if not address or not name or len(name) > LONGEST_NAME // 4:
                if not address:
                    return 0
                if name:
                    shown = f"  [{name}]".encode("utf-8", "replace")
                    self._append(shown)
                    make_room(&self._written, AROUND_TEXTS)
                else:
                    put_address(&self._written, address)
                return 0
            name = f"  [{name}]".encode("utf-8", "replace")
            # A name that an address has once it keeps.
            self._near_names[slot] = name
            self._near_sites[slot] = address
        shown = name
        put_text(&self._written, <const char *>shown, len(shown))
        return 0

    cdef Kept *_find(self, uint64_t mixed, const char *call, Py_ssize_t size) noexcept:
        cdef Kept *kept = &self._kept[mixed % SETS * WAYS]
        cdef int way
        for way in range(WAYS):
            if kept[way].key != NULL and kept[way].hash == mixed and kept[way].key_size == size \
                    and memcmp(kept[way].key, call, size) == 0:
                return &kept[way]
        return NULL

    cdef int _keep(self, uint64_t mixed, const char *call, Py_ssize_t size, bytes text) except -1:
        cdef Kept *kept = &self._kept[mixed % SETS * WAYS]
        cdef char *key = <char *>malloc(size + len(text))
        if key == NULL:
            raise MemoryError
        # The newest of a set is its first, and the last goes.
        free(kept[WAYS - 1].key)
        memmove(&kept[1], &kept[0], (WAYS - 1) * sizeof(Kept))
        memcpy(key, call, size)
        memcpy(key + size, <const char *>text, len(text))
        kept.hash = mixed
        kept.key = key
        kept.key_size = <uint32_t>size
        kept.text_size = <uint32_t>len(text)
        return 0


cdef bint is_plain(const char *text, Py_ssize_t size) noexcept:
    """Whether a text of JSON has no character that JSON does not allow, or that is not ASCII."""
    cdef Py_ssize_t index
    for index in range(size):
        if not 32 <= text[index] < 127:
            return False
    return True


cdef uint64_t mix(const char *data, Py_ssize_t size) noexcept:
    """A number that differs for different bytes, mostly."""
    cdef uint64_t value = <uint64_t>size, word = 0
    cdef Py_ssize_t at = 0
    while at < size:
        if at + 8 <= size:
            memcpy(&word, data + at, 8)
        else:
            word = 0
            memcpy(&word, data + at, size - at)
        value = (value ^ word) * <uint64_t>0x9E3779B97F4A7C15
        # The high bits, in which all of the word is, come down.
        value ^= value >> 32
        at += 8
    value *= <uint64_t>0xFF51AFD7ED558CCD
    return value ^ value >> 33
