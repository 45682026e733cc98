# Reads ring buffers. Part of scan.pyx.

cdef struct Field:
    int field
    int size
    bint negative
    uint32_t offset

cdef struct Layout:
    int kind
    int fields
    Field field[FIELDS]

cdef struct Cursor:
    const unsigned char *start
    const unsigned char *at
    const unsigned char *page_end
    const unsigned char *end
    uint64_t time
    uint64_t place
    bint ready
    bint whole
    Row row


cdef class RingSource:
    """Rows from the ring buffers of several processors, in the order of their times."""

    cdef Layout *_layouts
    cdef int _layout_count
    cdef int32_t _by_id[65536]
    cdef Cursor *_cursors
    cdef int _count
    cdef list _chunks
    cdef list _held
    cdef list _views
    cdef uint32_t _page, _commit_at, _commit_size, _data_at
    cdef uint32_t _type_at, _pid_at
    cdef uint64_t _multiplier, _shift
    cdef int64_t _added
    cdef readonly uint64_t others
    cdef readonly uint64_t lost
    cdef readonly uint64_t unreadable
    cdef readonly list damage

    def __cinit__(self):
        self._layouts = NULL
        self._cursors = NULL

    def __init__(self, chunks, layouts, page, commit, data_at, common, clock, int64_t added):
        """Read ring buffers.

        Args:
            chunks: for each processor an iterator of pairs: place in the file, and bytes that are
                whole pages but for the last.
            layouts: of each event its number, kind, and its fields: number of the field, offset,
                size and whether it has a sign.
            page: bytes of a page of the ring buffer.
            commit: offset and size of the length in a page's head.
            data_at: where in a page the events begin.
            common: offsets of an event's number (16 bits) and of its thread id (32 bits).
            clock: multiplier and shift that make nanoseconds of the times; multiplier 0
                for times that are nanoseconds.
            added: nanoseconds to be added to all times.
        """
        cdef int each
        self._chunks = [iter(each_chunks) for each_chunks in chunks]
        self._count = len(self._chunks)
        self._held = [None] * self._count
        self._cursors = <Cursor *>calloc(max(self._count, 1), sizeof(Cursor))
        self._layouts = <Layout *>calloc(max(len(layouts), 1), sizeof(Layout))
        if self._cursors == NULL or self._layouts == NULL:
            raise MemoryError
        memset(self._by_id, 0xFF, sizeof(self._by_id))
        for number, kind, fields in layouts:
            if not 0 <= number < 65536 or not 0 <= kind < KINDS or len(fields) > FIELDS:
                raise ValueError(number)
            layout = &self._layouts[self._layout_count]
            layout.kind = kind
            layout.fields = len(fields)
            for each, (field, offset, size, negative) in enumerate(fields):
                if not 0 <= field < FIELDS or size not in (1, 2, 4, 8):
                    raise ValueError(field)
                layout.field[each].field = field
                layout.field[each].offset = offset
                layout.field[each].size = size
                layout.field[each].negative = negative
            self._by_id[<int>number] = self._layout_count
            self._layout_count += 1
        self._page = page
        self._commit_at, self._commit_size = commit
        self._data_at = data_at
        self._type_at, self._pid_at = common
        self._multiplier, self._shift = clock
        self._added = added
        if self._commit_size not in (4, 8) or self._data_at >= self._page \
                or self._commit_at + self._commit_size > self._data_at or self._data_at < 8:
            raise ValueError("page")
        if self._shift > 63:
            raise ValueError("clock")
        self.damage = []

    def __dealloc__(self):
        free(self._cursors)
        free(self._layouts)

    def run(self, Calls calls, uint64_t most):
        """Hand on so many rows; return whether there may be more."""
        cdef int each, first = -1
        cdef uint64_t second, handed = 0
        cdef Cursor *cursor
        if self._count == 0:
            return False
        while True:
            # The processor whose row is the oldest, and how long it stays the oldest.
            first = -1
            second = UINT64_MAX
            for each in range(self._count):
                cursor = &self._cursors[each]
                if not cursor.ready and not self._advance(each, cursor):
                    continue
                if first < 0:
                    first = each
                elif cursor.row.time < self._cursors[first].row.time:
                    second = self._cursors[first].row.time
                    first = each
                elif cursor.row.time < second:
                    second = cursor.row.time
            if first < 0:
                return False
            cursor = &self._cursors[first]
            while True:
                calls.feed(&cursor.row)
                handed += 1
                if not self._advance(first, cursor) or cursor.row.time > second:
                    break
                if handed >= most:
                    return True
            if handed >= most:
                return True

    cdef bint _advance(self, int number, Cursor *cursor) except -1:
        """Find the next row of a processor; False at its end."""
        cdef const unsigned char *at
        cdef const unsigned char *data
        cdef uint32_t head, size, delta, length
        cdef int layout
        cdef uint64_t absolute
        cursor.ready = False
        while True:
            if cursor.at == NULL or cursor.page_end - cursor.at < 4:
                if not self._turn(number, cursor):
                    return False
                continue
            at = cursor.at
            head = _word(at)
            size = head & 31
            delta = head >> 5
            if 1 <= size <= 28:
                length = size * 4
                data = at + 4
            elif size == 0:
                if cursor.page_end - at < 8:
                    self._damaged(cursor, b"an event is cut off")
                    cursor.at = cursor.page_end
                    continue
                length = _word(at + 4)
                if length < 4 or length > self._page:
                    self._damaged(cursor, b"the length of an event is no length")
                    cursor.at = cursor.page_end
                    continue
                length = (length - 4 + 3) & ~<uint32_t>3
                data = at + 8
            elif size == 29:
                if delta == 0 or cursor.page_end - at < 8:
                    # The rest of the page is empty.
                    cursor.at = cursor.page_end
                    continue
                length = _word(at + 4)
                if length < 4 or length > <uint64_t>(cursor.page_end - at - 4):
                    cursor.at = cursor.page_end
                    continue
                cursor.time += delta
                cursor.at = at + 4 + ((length + 3) & ~<uint32_t>3)
                if cursor.at > cursor.page_end:
                    cursor.at = cursor.page_end
                continue
            else:
                if cursor.page_end - at < 8:
                    self._damaged(cursor, b"a time is cut off")
                    cursor.at = cursor.page_end
                    continue
                absolute = (<uint64_t>_word(at + 4) << 27) + delta
                if size == 30:
                    cursor.time += absolute
                else:
                    # 59 bits of the time; the others are those of the page.
                    absolute |= cursor.time & <uint64_t>0xF800000000000000
                    cursor.time = absolute
                cursor.at = at + 8
                continue
            if length > <uint64_t>(cursor.page_end - data):
                self._damaged(cursor, b"an event is longer than its page")
                cursor.at = cursor.page_end
                continue
            cursor.time += delta
            cursor.at = data + length
            if length < self._type_at + 2 or length < self._pid_at + 4:
                self.others += 1
                continue
            layout = self._by_id[_half(data + self._type_at)]
            if layout < 0:
                self.others += 1
                continue
            if not self._fill(&self._layouts[layout], data, length, &cursor.row):
                self._damaged(cursor, b"an event is shorter than its fields")
                continue
            cursor.row.pid = <int32_t>_word(data + self._pid_at)
            cursor.row.time = self._nanoseconds(cursor.time)
            cursor.ready = True
            return True

    cdef bint _fill(self, Layout *layout, const unsigned char *data, uint32_t length,
                    Row *row) noexcept:
        cdef int each
        cdef Field *field
        cdef uint64_t value
        row.kind = layout.kind
        row.named = -1
        row.known = 0
        memset(row.values, 0, sizeof(row.values))
        for each in range(layout.fields):
            field = &layout.field[each]
            if <uint64_t>field.offset + field.size > length:
                return False
            value = 0
            memcpy(&value, data + field.offset, field.size)
            if field.negative and field.size < 8 and value >> (8 * field.size - 1) & 1:
                value |= UINT64_MAX << (8 * field.size)
            row.values[field.field] = value
            row.known |= 1u << field.field
        return True

    cdef bint _turn(self, int number, Cursor *cursor) except -1:
        """Go to the next page of a processor; False at its end."""
        cdef const unsigned char *page
        cdef uint64_t commit
        cdef const unsigned char[::1] view
        page = cursor.start
        if page != NULL:
            page = page + self._page
        if page == NULL or page >= cursor.end:
            while True:
                self._held[number] = None
                cursor.start = cursor.at = cursor.page_end = cursor.end = NULL
                chunk = next(self._chunks[number], None)
                if chunk is None:
                    return False
                place, data = chunk
                view = data
                if view.shape[0] == 0:
                    continue
                self._held[number] = data
                cursor.place = place
                page = &view[0]
                cursor.end = page + view.shape[0]
                break
        else:
            cursor.place += self._page
        cursor.start = page
        cursor.at = cursor.page_end = cursor.end
        if <uint64_t>(cursor.end - page) < self._data_at:
            self._damaged(cursor, b"the file ends within the head of a page")
            cursor.start = cursor.end
            return True
        memcpy(&cursor.time, page, 8)
        commit = 0
        memcpy(&commit, page + self._commit_at, self._commit_size)
        if commit >> 31 & 1:
            self.lost += 1
        # Flags are above the length.
        commit &= 0x3FFFFFFF
        if commit > self._page - self._data_at:
            self._damaged(cursor, b"the length of a page is no length")
            commit = 0
        if commit > <uint64_t>(cursor.end - page - self._data_at):
            self._damaged(cursor, b"the file ends within a page")
            commit = cursor.end - page - self._data_at
        cursor.at = page + self._data_at
        cursor.page_end = cursor.at + commit
        return True

    cdef uint64_t _nanoseconds(self, uint64_t time) noexcept:
        if self._multiplier:
            time = <uint64_t>((<u128>time * self._multiplier) >> self._shift)
        return time + <uint64_t>self._added

    cdef int _damaged(self, Cursor *cursor, bytes what) except -1:
        self.unreadable += 1
        if len(self.damage) < 16:
            self.damage.append((cursor.place, what))
        return 0


cdef inline uint32_t _word(const unsigned char *at) noexcept:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


cdef inline uint16_t _half(const unsigned char *at) noexcept:
    cdef uint16_t value
    memcpy(&value, at, 2)
    return value
