# Joins rows to calls, which are counted, or handed on as longer rows. Part of scan.pyx.

cdef struct Counter:
    uint64_t key
    uint64_t count
    uint64_t reps
    uint64_t first
    uint64_t last
    uint64_t total


cdef class Calls:
    """Joins the tracepoints of a call, thread by thread, and counts calls or collects rows.

    A call is entered at the kvm_exit before its kvm_hv_hypercall, and left at the kvm_entry after
    its kvm_hv_hypercall_done, so far as these were recorded.
    """

    cdef Thread *_threads
    cdef int _used, _room
    cdef dict _by_pid
    cdef int32_t _near[1024]
    cdef Counter *_counters
    cdef int _counted, _counter_room
    cdef dict _by_key
    cdef int32_t _near_keys[256]
    cdef uint64_t _kinds[KINDS]
    cdef dict _owners
    cdef object _only
    cdef list _rows
    cdef Texts _texts
    # Whether all is looked at, not calls alone.
    cdef bint _all
    cdef readonly uint64_t rows
    cdef readonly object shared
    cdef readonly bint crowded
    cdef uint64_t _first, _last

    def __cinit__(self):
        self._threads = NULL
        self._counters = NULL
        self._used = self._room = self._counted = self._counter_room = 0
        memset(self._near, 0xFF, sizeof(self._near))
        memset(self._near_keys, 0xFF, sizeof(self._near_keys))
        memset(self._kinds, 0, sizeof(self._kinds))
        self._first = UINT64_MAX
        self._last = 0

    def __init__(self, bint collect, only=None, names=(), Texts texts=None):
        """Join rows.

        Args:
            collect: gather rows for `take`, rather than count calls.
            only: the thread ids to heed, or None for all.
            names: pairs of a thread id and the virtual processor that it is known to run.
            texts: gets what would be rows.
        """
        self._by_pid = {}
        self._by_key = {}
        self._owners = {}
        self._only = None if only is None else frozenset(only)
        self._rows = [] if collect else None
        self._texts = texts
        self._all = collect or texts is not None
        self.shared = None
        for pid, vcpu in names:
            thread = self._thread(pid)
            if thread >= 0:
                self._name(thread, vcpu)

    def __dealloc__(self):
        free(self._threads)
        free(self._counters)

    cdef int _thread(self, int64_t pid) except -2:
        """Return the place of a thread, or -1 where there are too many."""
        cdef int slot = <int>(<uint64_t>pid & 1023)
        cdef int at = self._near[slot]
        cdef Thread *grown
        if at >= 0 and self._threads[at].pid == pid:
            return at
        found = self._by_pid.get(pid)
        if found is None:
            if self._used == MOST_THREADS:
                self.crowded = True
                return -1
            if self._used == self._room:
                room = self._room * 2 if self._room else 16
                grown = <Thread *>realloc(self._threads, room * sizeof(Thread))
                if grown == NULL:
                    raise MemoryError
                self._threads = grown
                self._room = room
            at = self._used
            self._used += 1
            memset(&self._threads[at], 0, sizeof(Thread))
            self._threads[at].pid = pid
            self._threads[at].vcpu = -1
            self._threads[at].seen = -1
            self._by_pid[pid] = at
        else:
            at = found
        self._near[slot] = at
        return at

    cdef int _name(self, int at, int64_t vcpu) except -1:
        """Take note of which virtual processor a thread runs."""
        self._threads[at].vcpu = vcpu
        pid = self._threads[at].pid
        if len(self._owners) >= MOST_THREADS:
            return 0
        owner = self._owners.setdefault(vcpu, pid)
        if owner != pid and self.shared is None:
            self.shared = (vcpu, owner, pid)
        return 0

    cdef int feed(self, Row *row) except -1:
        cdef int at, kind = row.kind
        cdef Thread *thread
        cdef uint64_t begun
        if self._only is not None and row.pid not in self._only:
            return 0
        self.rows += 1
        self._kinds[kind] += 1
        if row.time < self._first:
            self._first = row.time
        if row.time > self._last:
            self._last = row.time
        at = self._thread(row.pid)
        if at < 0:
            return 0
        thread = &self._threads[at]
        if row.named >= 0 and thread.vcpu < 0:
            self._name(at, row.named)
        if kind == HYPERCALL:
            if thread.state:
                self._finish(thread, thread.answered if thread.has_result else thread.called)
            thread.state = CALLED
            thread.called = row.time
            thread.entered = row.time
            thread.call_rip = 0
            if thread.exited:
                thread.entered = thread.exit_time
                thread.call_rip = thread.rip
            thread.has_result = False
            thread.detail = -1
            thread.known = row.known
            memcpy(thread.call, row.values, sizeof(row.values))
        elif kind == DONE:
            if thread.state == CALLED:
                thread.has_result = True
                thread.result = row.values[DONE_RESULT]
                thread.answered = row.time
                thread.state = ANSWERED
                if not thread.exited and not thread.entries:
                    self._finish(thread, row.time)
        elif kind == ENTRY:
            if row.values[ENTRY_VCPU] != <uint64_t>thread.vcpu:
                self._name(at, <int64_t>(row.values[ENTRY_VCPU] & 0x7FFFFFFF))
            if thread.state:
                self._finish(thread, row.time)
            thread.entries = True
            thread.exited = False
        elif kind == EXIT:
            if row.known >> EXIT_VCPU & 1 and row.values[EXIT_VCPU] != <uint64_t>thread.vcpu:
                self._name(at, <int64_t>(row.values[EXIT_VCPU] & 0x7FFFFFFF))
            if thread.state:
                self._finish(thread, thread.answered if thread.has_result else thread.called)
            thread.exited = True
            thread.exit_time = row.time
            thread.rip = row.values[EXIT_RIP]
            if self._all and (
                row.values[EXIT_ISA] == ISA_VMX and row.values[EXIT_REASON] & 0xFFFF == VMX_HLT
                or row.values[EXIT_ISA] == ISA_SVM and row.values[EXIT_REASON] == SVM_HLT
            ):
                self._collect(row, thread)
        elif kind <= IPI_EX:
            if thread.state == CALLED:
                thread.detail = kind
                memcpy(thread.details, row.values, sizeof(row.values))
        elif self._all:
            self._collect(row, thread)
        return 0

    cdef int _collect(self, Row *row, Thread *thread) except -1:
        if self._texts is None:
            self._rows.append(row_of_event(row, thread))
        elif thread.vcpu >= 0 and (row.kind == INJECT or row.kind == WAKEUP or row.kind == EXIT):
            self._texts.add_event(row, thread)
        else:
            self._texts.add_row(row_of_event(row, thread))
        return 0

    cdef int _finish(self, Thread *thread, uint64_t left) except -1:
        thread.state = IDLE
        if left < thread.entered:
            left = thread.entered
        if self._texts is not None:
            self._texts.add_call(thread, left)
        elif self._rows is not None:
            self._rows.append(row_of_call(thread, left))
        else:
            self._count(thread, left)
        return 0

    cdef int _count(self, Thread *thread, uint64_t left) except -1:
        cdef uint64_t key = thread.call[CALL_CODE] & 0xFFFF
        cdef int slot, at
        cdef Counter *counter
        cdef Counter *grown
        if thread.has_result:
            key |= 1ULL << 32 | (thread.result & 0xFFFF) << 16
        slot = <int>((key ^ key >> 16) & 0xFF)
        at = self._near_keys[slot]
        if at < 0 or self._counters[at].key != key:
            found = self._by_key.get(key)
            if found is None:
                if self._counted == MOST_COUNTERS:
                    self.crowded = True
                    return 0
                if self._counted == self._counter_room:
                    room = self._counter_room * 2 if self._counter_room else 64
                    grown = <Counter *>realloc(self._counters, room * sizeof(Counter))
                    if grown == NULL:
                        raise MemoryError
                    self._counters = grown
                    self._counter_room = room
                at = self._counted
                self._counted += 1
                memset(&self._counters[at], 0, sizeof(Counter))
                self._counters[at].key = key
                self._counters[at].first = UINT64_MAX
                self._by_key[key] = at
            else:
                at = found
            self._near_keys[slot] = at
        counter = &self._counters[at]
        counter.count += 1
        if thread.has_result:
            counter.reps += thread.result >> 32 & 0xFFF
        if thread.entered < counter.first:
            counter.first = thread.entered
        if thread.entered > counter.last:
            counter.last = thread.entered
        counter.total += left - thread.entered
        return 0

    def finish(self):
        """End the calls that are under way: the trace is over."""
        cdef int at
        for at in range(self._used):
            if self._threads[at].state:
                self._finish(&self._threads[at],
                             self._threads[at].answered if self._threads[at].has_result
                             else self._threads[at].called)

    def take(self):
        """Return the rows collected since the last time."""
        rows = self._rows
        self._rows = []
        return rows

    def frontier(self):
        """Return the time before which no call can be entered that is not told yet, or None."""
        cdef int at
        cdef Thread *thread
        cdef uint64_t oldest = UINT64_MAX
        for at in range(self._used):
            thread = &self._threads[at]
            if thread.state:
                oldest = min(oldest, thread.entered)
            elif thread.exited and self._last - thread.exit_time < EXIT_TO_CALL:
                oldest = min(oldest, thread.exit_time)
        return None if oldest == UINT64_MAX else oldest

    def counters(self):
        """Return for each code and status: code, status or None, count, reps, first, last, total."""
        cdef int at
        found = []
        for at in range(self._counted):
            key = self._counters[at].key
            found.append((
                key & 0xFFFF,
                key >> 16 & 0xFFFF if key >> 32 else None,
                self._counters[at].count,
                self._counters[at].reps,
                self._counters[at].first,
                self._counters[at].last,
                self._counters[at].total,
            ))
        return found

    def kinds(self):
        """Return how many rows of each kind there were."""
        return [self._kinds[each] for each in range(KINDS)]

    def span(self):
        """Return the first and the last time, or None without any row."""
        return None if self._first == UINT64_MAX else (self._first, self._last)


cdef tuple row_of_event(Row *row, Thread *thread):
    cdef int each
    values = [row.kind, row.time, row.pid, thread.vcpu, thread.rip if thread.exited else 0,
              row.known]
    for each in range(FIELDS):
        values.append(row.values[each])
    return tuple(values)


cdef tuple row_of_call(Thread *thread, uint64_t left):
    cdef int each
    values = [HYPERCALL, thread.entered, thread.pid, thread.vcpu, thread.call_rip, thread.known]
    for each in range(FIELDS):
        values.append(thread.call[each])
    values += [left, 1 if thread.has_result else 0, thread.result if thread.has_result else 0,
               thread.detail]
    if thread.detail >= 0:
        for each in range(FIELDS):
            values.append(thread.details[each])
    return tuple(values)
