# Shows calls as lines of text, in the order of their times. Part of scan.pyx.

cdef enum:
    MOST_TEXTS = 8192

cdef struct Waiting:
    uint64_t time
    uint64_t number
    # UINT64_MAX for what is no call, and has neither a duration nor a place.
    uint64_t duration
    uint64_t rip
    int64_t vcpu
    # The text of the event; or a whole line, where vcpu is -1.
    PyObject *text


cdef struct TextKey:
    # All that the text of an event depends on.
    int64_t kind
    uint64_t call[FIELDS]
    uint64_t details[FIELDS]
    uint64_t result
    int64_t detail
    int64_t has_result


cdef class Texts:
    """The lines of text of a trace, held until nothing can come before them any more.

    What is shown here is what `EventBuilder` and `StraceWriter` give; a call that is like none
    before, and every other event, is shown by them.
    """

    cdef object _make_line
    cdef object _make_text
    cdef object _saw
    cdef dict _made
    cdef Waiting *_heap
    cdef size_t _used, _room
    cdef uint64_t _number
    cdef uint64_t _most_held
    cdef Written _written

    def __cinit__(self):
        self._heap = NULL
        self._used = self._room = 0
        self._written.data = NULL
        self._written.used = self._written.room = 0

    def __init__(self, make_line, make_text, saw, uint64_t most_held):
        """Make lines.

        Args:
            make_line: takes a row; returns the time and the line of its event, or None.
            make_text: takes a row; returns the text of its event without position and duration.
            saw: is told of each virtual processor of which there is an event.
            most_held: how many lines wait, at the most.
        """
        self._make_line = make_line
        self._make_text = make_text
        self._saw = saw
        self._made = {}
        self._number = 0
        self._most_held = most_held

    def __dealloc__(self):
        cdef size_t index
        for index in range(self._used):
            Py_XDECREF(self._heap[index].text)
        free(self._heap)
        free(self._written.data)

    cdef int add_row(self, tuple row) except -1:
        made = self._make_line(row)
        if made is None:
            return 0
        time, line = made
        self._push(time, 0, 0, -1, line)
        return 0

    cdef int add_event(self, Row *row, Thread *thread) except -1:
        """Take an event whose text depends on nothing but its kind and its first value."""
        cdef TextKey key
        cdef bytes found
        self._told_of(thread)
        memset(&key, 0, sizeof(key))
        key.kind = row.kind
        if row.kind == INJECT:
            key.call[0] = row.values[0]
        found = (<char *>&key)[:sizeof(TextKey)]
        text = self._made.get(found)
        if text is None:
            text = self._keep(found, row_of_event(row, thread))
        self._push(row.time, UINT64_MAX, 0, thread.vcpu, text)
        return 0

    cdef bytes _keep(self, bytes key, tuple row):
        if len(self._made) >= MOST_TEXTS:
            self._made.clear()
        text = self._made[key] = self._make_text(row)
        return text

    cdef int _told_of(self, Thread *thread) except -1:
        if thread.vcpu != thread.seen:
            thread.seen = thread.vcpu
            self._saw(thread.vcpu)
        return 0

    cdef int add_call(self, Thread *thread, uint64_t left) except -1:
        cdef TextKey key
        cdef bytes found
        if thread.vcpu < 0:
            return self.add_row(row_of_call(thread, left))
        self._told_of(thread)
        key.kind = HYPERCALL
        memcpy(key.call, thread.call, sizeof(key.call))
        key.has_result = thread.has_result
        key.result = thread.result if thread.has_result else 0
        key.detail = thread.detail
        if thread.detail >= 0:
            memcpy(key.details, thread.details, sizeof(key.details))
        else:
            memset(key.details, 0, sizeof(key.details))
        found = (<char *>&key)[:sizeof(TextKey)]
        text = self._made.get(found)
        if text is None:
            text = self._keep(found, row_of_call(thread, left))
        self._push(thread.entered, left - thread.entered, thread.call_rip, thread.vcpu, text)
        return 0

    cdef int _push(self, uint64_t time, uint64_t duration, uint64_t rip, int64_t vcpu,
                   bytes text) except -1:
        cdef Waiting *grown
        cdef size_t at, above
        if self._used == self._room:
            room = self._room * 2 if self._room else 1024
            grown = <Waiting *>realloc(self._heap, room * sizeof(Waiting))
            if grown == NULL:
                raise MemoryError
            self._heap = grown
            self._room = room
        self._number += 1
        at = self._used
        self._used += 1
        while at:
            above = (at - 1) // 2
            if self._heap[above].time <= time:
                break
            self._heap[at] = self._heap[above]
            at = above
        self._heap[at].time = time
        self._heap[at].number = self._number
        self._heap[at].duration = duration
        self._heap[at].rip = rip
        self._heap[at].vcpu = vcpu
        self._heap[at].text = <PyObject *>text
        Py_INCREF(text)
        return 0

    cdef int _pop(self) except -1:
        """Write the oldest line."""
        cdef Waiting oldest = self._heap[0]
        cdef Waiting last
        cdef size_t at = 0, below
        cdef bytes text = <bytes>oldest.text
        Py_DECREF(text)
        self._used -= 1
        last = self._heap[self._used]
        while 2 * at + 1 < self._used:
            below = 2 * at + 1
            if below + 1 < self._used and is_before(&self._heap[below + 1], &self._heap[below]):
                below += 1
            if is_before(&last, &self._heap[below]):
                break
            self._heap[at] = self._heap[below]
            at = below
        self._heap[at] = last
        make_room(&self._written, AROUND_TEXTS + len(text))
        if oldest.vcpu < 0:
            put_text(&self._written, <const char *>text, len(text))
            return 0
        put_position(&self._written, oldest.time, oldest.vcpu, 0)
        put_text(&self._written, <const char *>text, len(text))
        if oldest.duration != UINT64_MAX:
            put_duration(&self._written, oldest.duration)
            if oldest.rip:
                put_address(&self._written, oldest.rip)
        put_letter(&self._written, 10)
        return 0

    def take(self, frontier):
        """Return the lines before which nothing can come any more.

        Args:
            frontier: when the oldest call was entered that is not over yet; None if there is none.
        """
        cdef bint all = frontier is None
        cdef uint64_t before = 0 if all else frontier
        self._written.used = 0
        while self._used and (
            all or self._heap[0].time < before or self._used > self._most_held
        ):
            self._pop()
        return self._written.data[:self._written.used]


cdef inline bint is_before(Waiting *first, Waiting *second) noexcept:
    if first.time != second.time:
        return first.time < second.time
    return first.number < second.number
