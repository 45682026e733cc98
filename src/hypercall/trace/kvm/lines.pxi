# Reads lines of text. Part of scan.pyx.

cdef struct Key:
    char text[LONGEST_WORD]
    int length
    int field
    # 0 for a word that stands for a value, else the base of the number that follows.
    int base
    uint64_t value

cdef struct Tracepoint:
    char name[LONGEST_WORD]
    int length
    uint32_t required
    int keys
    Key key[MOST_KEYS]


cdef class Words:
    """The tracepoints' names, and the words of their texts."""

    cdef Tracepoint *_points
    cdef int _count

    def __cinit__(self):
        self._points = <Tracepoint *>calloc(KINDS, sizeof(Tracepoint))
        if self._points == NULL:
            raise MemoryError
        self._count = KINDS

    def __init__(self, tracepoints):
        """Take the tracepoints over.

        Args:
            tracepoints: of each its kind, name, mask of the fields it must have, and its keys:
                word, field, base (0 for a word that is a value itself) and value.
        """
        cdef Tracepoint *point
        cdef Key *key
        for kind, name, required, keys in tracepoints:
            if not 0 <= kind < KINDS or len(keys) > MOST_KEYS or len(name) >= LONGEST_WORD:
                raise ValueError(name)
            point = &self._points[kind]
            point.length = len(name)
            memcpy(point.name, <const char *>name, point.length)
            point.required = required
            point.keys = len(keys)
            for number, (word, field, base, value) in enumerate(keys):
                if len(word) >= LONGEST_WORD or not 0 <= field < FIELDS:
                    raise ValueError(word)
                key = &point.key[number]
                key.length = len(word)
                memcpy(key.text, <const char *>word, key.length)
                key.field = field
                key.base = base
                key.value = value

    def __dealloc__(self):
        free(self._points)

    cdef int find(self, const char *name, Py_ssize_t length) noexcept:
        """Return the kind of that name, or -1."""
        cdef int kind
        cdef Tracepoint *point
        for kind in range(self._count):
            point = &self._points[kind]
            if point.length == length and memcmp(point.name, name, length) == 0:
                return kind
        return -1


cdef inline bint _is_digit(char letter) noexcept:
    return 48 <= letter <= 57


cdef inline bint _is_name(char letter) noexcept:
    return _is_digit(letter) or 97 <= letter <= 122 or 65 <= letter <= 90 or letter == 95


cdef inline int _digit(char letter) noexcept:
    """Return the value of a hexadecimal digit, or 16."""
    if 48 <= letter <= 57:
        return letter - 48
    if 97 <= letter <= 102:
        return letter - 87
    if 65 <= letter <= 70:
        return letter - 55
    return 16


cdef class TextSource:
    """Rows from lines of text."""

    cdef Words _words
    cdef readonly uint64_t line
    cdef readonly uint64_t others
    cdef readonly uint64_t unreadable
    cdef readonly list damage
    cdef readonly bint counter_clock
    cdef int _last

    def __init__(self, Words words):
        """Look for these tracepoints."""
        self._words = words
        self.line = 0
        self.others = 0
        self.unreadable = 0
        self.damage = []
        self._last = 0

    def feed(self, const unsigned char[::1] block, Calls calls):
        """Hand the rows of some whole lines on.

        Args:
            block: lines; the last need not end.
            calls: who gets the rows.
        """
        cdef const char *at
        cdef const char *end
        cdef const char *stop
        cdef Row row
        cdef int found
        if block.shape[0] == 0:
            return
        at = <const char *>&block[0]
        end = at + block.shape[0]
        while at < end:
            stop = <const char *>memchr(at, 10, end - at)
            if stop == NULL:
                stop = end
            self.line += 1
            found = self._read(at, stop, &row)
            if found == 1:
                calls.feed(&row)
            elif found == 0:
                self.others += 1
            elif found == -1 and not _is_harmless(at, stop):
                self._damaged(b"no event can be read from this line", at, stop)
            at = stop + 1

    def too_long(self):
        """Take note of a line that was left out since it is too long, and count it."""
        self.line += 1
        self._damaged(b"the line is too long to be one of a trace", NULL, NULL)

    cdef int _damaged(self, bytes what, const char *at, const char *stop) except -1:
        self.unreadable += 1
        if len(self.damage) < 16:
            text = b""
            if at != NULL:
                text = at[:min(stop - at, 60)]
            self.damage.append((self.line, what, text))
        return 0

    cdef int _read(self, const char *at, const char *end, Row *row) except -3:
        """Read a line: 1 for a row, 0 for another event, -1 where there is none, -2 for damage."""
        cdef const char *colon = at
        cdef const char *start
        cdef const char *name
        cdef const char *next
        cdef Tracepoint *point
        cdef int kind
        while True:
            colon = <const char *>memchr(colon, 58, end - colon) if colon < end else NULL
            if colon == NULL:
                return -1
            # A time: digits, perhaps a point and digits, after a space.
            start = colon
            while start > at and (_is_digit(start[-1]) or start[-1] == 46):
                start -= 1
            if start == colon or start == at or (start[-1] != 32 and start[-1] != 9) \
                    or not _is_digit(start[0]):
                colon += 1
                continue
            name = colon + 1
            if name < end and name[0] != 32 and name[0] != 9:
                colon += 1
                continue
            while name < end and (name[0] == 32 or name[0] == 9):
                name += 1
            # Differences of times and periods may stand before the name.
            if name < end and name[0] == 40:
                while name < end and name[0] != 41:
                    name += 1
                name += 1
                while name < end and name[0] == 32:
                    name += 1
            next = name
            while next < end and _is_digit(next[0]):
                next += 1
            if next > name and next < end and next[0] == 32:
                name = next
                while name < end and name[0] == 32:
                    name += 1
            next = name
            while next < end and _is_name(next[0]):
                next += 1
            if next < end - 1 and next[0] == 58 and _is_name(next[1]):
                # The system's name, as perf writes it.
                name = next + 1
                next = name
                while next < end and _is_name(next[0]):
                    next += 1
            if name >= end or next == name or next >= end or next[0] != 58 \
                    or not self._caller(at, start, row):
                colon += 1
                continue
            break
        # Neighbouring lines are often of one tracepoint.
        kind = self._last
        point = &self._words._points[kind]
        if not (point.length == next - name and memcmp(point.name, name, point.length) == 0):
            kind = self._words.find(name, next - name)
            if kind < 0:
                return 0
            self._last = kind
        row.kind = kind
        if not self._time(start, colon, row):
            self._damaged(b"the time is no number of 64 bits", at, end)
            return -2
        if not self._fields(&self._words._points[kind], next + 1, end, row):
            self._damaged(b"a number of 64 bits is not one", at, end)
            return -2
        if row.known & self._words._points[kind].required != self._words._points[kind].required:
            self._damaged(b"fields are missing", at, end)
            # What a call is may be known though the rest is cut off.
            if not row.known & 1:
                return -2
        return 1

    cdef bint _caller(self, const char *at, const char *end, Row *row) noexcept:
        """Read the task, thread and processor before the time; False where they are not there."""
        cdef const char *stop
        cdef const char *start
        cdef int tokens
        cdef uint64_t number
        cdef bint found = False
        row.pid = -1
        row.named = -1
        for tokens in range(2):
            while end > at and (end[-1] == 32 or end[-1] == 9):
                end -= 1
            stop = end
            while end > at and end[-1] != 32 and end[-1] != 9:
                end -= 1
            if stop - end < 1:
                return False
            if end[0] == 91 and stop[-1] == 93 and stop - end > 2:
                start = end + 1
                while start < stop - 1 and _is_digit(start[0]):
                    start += 1
                found = start == stop - 1
                break
            # In the latency format the processor and the flags are one word.
            if tokens == 0 and _is_digit(end[0]) and stop - end > 4:
                found = True
                break
        if not found:
            return False
        while end > at and (end[-1] == 32 or end[-1] == 9):
            end -= 1
        if end > at and end[-1] == 41:
            # The thread group.
            while end > at and end[-1] != 40:
                end -= 1
            if end > at:
                end -= 1
            while end > at and end[-1] == 32:
                end -= 1
        stop = end
        while end > at and _is_digit(end[-1]):
            end -= 1
        if stop - end < 1 or stop - end > 10:
            return True
        number = 0
        start = end
        while start < stop:
            number = number * 10 + (start[0] - 48)
            start += 1
        row.pid = <int64_t>number
        # "CPU 3/KVM" is what QEMU may call the thread of a virtual processor.
        while at < end and (at[0] == 32 or at[0] == 9):
            at += 1
        if end - at > 8 and memcmp(at, "CPU ", 4) == 0 and _is_digit(at[4]):
            at += 4
            number = 0
            while at < end and _is_digit(at[0]) and number < 100000:
                number = number * 10 + (at[0] - 48)
                at += 1
            if end - at >= 4 and memcmp(at, "/KVM", 4) == 0:
                row.named = <int64_t>number
        return True

    cdef bint _time(self, const char *at, const char *end, Row *row) noexcept:
        cdef uint64_t whole = 0, part = 0
        cdef int places = 0
        while at < end and _is_digit(at[0]):
            if whole > (UINT64_MAX - 9) // 10:
                return False
            whole = whole * 10 + (at[0] - 48)
            at += 1
        if at == end:
            self.counter_clock = True
            row.time = whole
            return True
        at += 1
        while at < end and _is_digit(at[0]):
            if places < 9:
                part = part * 10 + (at[0] - 48)
                places += 1
            at += 1
        if at != end or whole > 9_000_000_000ULL:
            return False
        while places < 9:
            part *= 10
            places += 1
        row.time = whole * 1_000_000_000ULL + part
        return True

    cdef bint _fields(self, Tracepoint *point, const char *at, const char *end, Row *row) noexcept:
        """Read what follows the name; False for a number that does not fit."""
        cdef const char *start
        cdef const char *stop
        cdef int expected = 0, number, each
        cdef Key *key
        row.known = 0
        memset(row.values, 0, sizeof(row.values))
        while at < end:
            while at < end and (at[0] == 32 or at[0] == 44 or at[0] == 9 or at[0] == 13):
                at += 1
            start = at
            while at < end and at[0] != 32 and at[0] != 44 and at[0] != 13:
                at += 1
            stop = at
            if stop == start:
                continue
            # The words come in the order of the keys, so the next one is mostly the next key.
            for each in range(point.keys):
                number = expected + each
                if number >= point.keys:
                    number -= point.keys
                key = &point.key[number]
                if key.length != stop - start or memcmp(key.text, start, key.length) != 0:
                    continue
                expected = number + 1 if number + 1 < point.keys else 0
                if key.base == 0:
                    row.values[key.field] = key.value
                    row.known |= 1u << key.field
                    # Such a word may say several things, or come before a number.
                    if number + 1 < point.keys and point.key[number + 1].length == key.length \
                            and memcmp(point.key[number + 1].text, start, key.length) == 0:
                        key = &point.key[number + 1]
                        if key.base == 0:
                            row.values[key.field] = key.value
                            row.known |= 1u << key.field
                            break
                    else:
                        break
                if not _number(&at, end, key.base, row, key.field):
                    return False
                break
        return True


cdef bint _number(const char **place, const char *end, int base, Row *row, int field) noexcept:
    """Read the number that follows, if one does; False where it does not fit into 64 bits."""
    cdef const char *at = place[0]
    cdef uint64_t number = 0
    cdef bint negative = False
    cdef int digit, digits = 0
    while at < end and at[0] == 32:
        at += 1
    if end - at > 2 and at[0] == 48 and (at[1] == 120 or at[1] == 88):
        base = 16
        at += 2
    elif end - at > 1 and at[0] == 45:
        negative = True
        at += 1
    while at < end:
        digit = _digit(at[0])
        if digit >= base:
            break
        if number > (UINT64_MAX - digit) // <uint64_t>base:
            return False
        number = number * base + digit
        digits += 1
        at += 1
    if digits and (at == end or not _is_name(at[0])):
        row.values[field] = 0 - number if negative else number
        row.known |= 1u << field
        place[0] = at
    return True


cdef bint _starts(const char *at, const char *end, const char *text, int length) noexcept:
    return end - at >= length and memcmp(at, text, length) == 0


cdef bint _is_harmless(const char *at, const char *end) noexcept:
    """Tell whether a line is one of those that the tools write beside the events."""
    cdef const char *first
    while at < end and (at[0] == 32 or at[0] == 9 or at[0] == 13):
        at += 1
    while end > at and (end[-1] == 13 or end[-1] == 32):
        end -= 1
    if at == end or at[0] == 35:
        return True
    if _starts(at, end, "cpus=", 5) or _starts(at, end, "CPU", 3) or _starts(at, end, "=>", 2) \
            or _starts(at, end, "version =", 9) or _starts(at, end, "<stack", 6) \
            or _starts(at, end, "trace-cmd:", 10):
        return True
    # A line of a call chain: an address and a name.
    first = at
    while at < end and _digit(at[0]) < 16:
        at += 1
    return at - first >= 8 and at < end and at[0] == 32
