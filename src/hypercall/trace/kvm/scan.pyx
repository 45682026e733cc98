# cython: language_level=3, boundscheck=False, cdivision=True, profile=False
"""Finds the tracepoints in text and in ring buffers, and joins what belongs to one hypercall.

Everything that is done for each event of a trace is done here, since traces have many millions of
them. What an event means is said elsewhere: this module gets the tracepoints and their fields as
tables, and gives rows of numbers.

The bytes are a stranger's. Each read is preceded by a comparison with the end of what there is;
nothing is allocated by a number that a file gives.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF
from libc.stdint cimport UINT64_MAX, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from *:
    """
    typedef unsigned __int128 hypercall_u128;
    """
    ctypedef unsigned long long u128 "hypercall_u128"


cpdef enum Kind:
    # Those that calls are joined from; the order of their fields is known here.
    HYPERCALL = 0
    DONE = 1
    FLUSH = 2
    FLUSH_EX = 3
    IPI = 4
    IPI_EX = 5
    ENTRY = 6
    EXIT = 7
    # Those that are handed on as they are.
    INJECT = 8
    MSR = 9
    WAKEUP = 10
    ACKNOWLEDGED = 11
    SET_IRQ = 12
    SEND_EOI = 13
    SYNIC_MSR = 14
    TIMER_CONFIG = 15
    TIMER_COUNT = 16
    TIMER_PERIODIC = 17
    TIMER_ONE_SHOT = 18
    TIMER_CALLBACK = 19
    TIMER_CLEANUP = 20
    TIMER_EXPIRATION = 21
    DEBUG_SET = 22
    DEBUG_GET = 23

cdef enum:
    KINDS = 24
    FIELDS = 8
    MOST_KEYS = 32
    LONGEST_WORD = 48
    MOST_THREADS = 65536
    MOST_COUNTERS = 65536
    # Fields of the kinds that calls are joined from.
    CALL_CODE = 0
    DONE_RESULT = 0
    ENTRY_VCPU = 0
    EXIT_RIP = 0
    EXIT_VCPU = 1
    EXIT_REASON = 2
    EXIT_ISA = 3
    # Nanoseconds in which a call is told after its exit, at the most.
    EXIT_TO_CALL = 1_000_000
    # What of a call is under way in a thread.
    IDLE = 0
    CALLED = 1
    ANSWERED = 2
    # The exits of VMX and SVM for HLT.
    ISA_VMX = 1
    ISA_SVM = 2
    VMX_HLT = 12
    SVM_HLT = 0x78

cdef struct Row:
    uint64_t time
    int64_t pid
    int kind
    uint32_t known
    uint64_t values[FIELDS]
    # The number in a task name of the form "CPU 3/KVM", or -1.
    int64_t named


include "../strace_lines.pxi"


cdef struct Thread:
    int64_t pid
    int64_t vcpu
    # The virtual processor that was told of last as the one of a call.
    int64_t seen
    int state
    bint exited
    bint entries
    uint64_t exit_time
    uint64_t rip
    uint64_t entered
    uint64_t called
    uint64_t answered
    uint64_t call_rip
    uint64_t result
    bint has_result
    uint32_t known
    uint64_t call[FIELDS]
    int detail
    uint64_t details[FIELDS]


include "texts.pxi"
include "calls.pxi"
include "lines.pxi"
include "rings.pxi"
