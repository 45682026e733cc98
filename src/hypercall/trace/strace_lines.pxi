# Writes what surrounds the text of a call in a line of strace. Part of the modules that need it;
# what is written is what `hypercall.trace.strace` writes.

cdef extern from "stdio.h" nogil:
    int snprintf(char *text, size_t room, const char *form, ...)

cdef enum:
    # Bytes of a line beside its texts, at the most.
    AROUND_TEXTS = 160

cdef struct Written:
    char *data
    size_t used
    size_t room


cdef int make_room(Written *written, size_t size) except -1:
    cdef char *grown
    cdef size_t room
    if written.room - written.used >= size:
        return 0
    room = max(written.room * 2, written.used + size, <size_t>1 << 16)
    grown = <char *>realloc(written.data, room)
    if grown == NULL:
        raise MemoryError
    written.data = grown
    written.room = room
    return 0


cdef inline void put_text(Written *written, const char *text, size_t size) noexcept:
    memcpy(written.data + written.used, text, size)
    written.used += size


cdef inline void put_letter(Written *written, char letter) noexcept:
    written.data[written.used] = letter
    written.used += 1


cdef void put_decimal(Written *written, uint64_t number, int width, char filler) noexcept:
    # A number, to the right of a field of so many letters.
    cdef char digits[20]
    cdef int count = 0
    while number or count == 0:
        digits[count] = 48 + <char>(number % 10)
        number //= 10
        count += 1
    while width > count:
        put_letter(written, filler)
        width -= 1
    while count:
        count -= 1
        put_letter(written, digits[count])


cdef void put_hexadecimal(Written *written, uint64_t number) noexcept:
    cdef int shift = 60
    put_text(written, "0x", 2)
    while shift and not number >> shift:
        shift -= 4
    while shift >= 0:
        put_letter(written, b"0123456789abcdef"[number >> shift & 15])
        shift -= 4


cdef void put_position(Written *written, uint64_t time, uint64_t vp, uint64_t vtl) noexcept:
    put_decimal(written, time // 1_000_000_000, 4, 32)
    put_letter(written, 46)
    put_decimal(written, time % 1_000_000_000, 9, 48)
    put_text(written, " vp", 3)
    put_decimal(written, vp, 0, 32)
    if vtl:
        put_text(written, ".vtl", 4)
        put_decimal(written, vtl, 0, 32)
    put_letter(written, 32)


cdef void put_duration(Written *written, uint64_t nanoseconds) noexcept:
    put_text(written, "  <", 3)
    if nanoseconds < 1000:
        put_decimal(written, nanoseconds, 0, 32)
        put_text(written, "ns>", 3)
    elif nanoseconds < 1_000_000:
        put_rounded(written, nanoseconds, 1000, 10)
        put_text(written, "us>", 3)
    else:
        put_rounded(written, nanoseconds, 1_000_000, 1000)
        put_text(written, "ms>", 3)


cdef void put_rounded(Written *written, uint64_t number, uint64_t unit, uint64_t parts) noexcept:
    # A number in some unit, with one or three digits behind the point.
    cdef uint64_t smallest = unit // parts, rounded
    if number % smallest * 2 == smallest or number >> 52:
        # How a double that is not exact is rounded, the library knows.
        written.used += snprintf(
            written.data + written.used, 40, "%.1f" if parts == 10 else "%.3f",
            <double>number / <double>unit,
        )
        return
    rounded = (number + smallest // 2) // smallest
    put_decimal(written, rounded // parts, 0, 32)
    put_letter(written, 46)
    put_decimal(written, rounded % parts, 1 if parts == 10 else 3, 48)


cdef inline void put_address(Written *written, uint64_t address) noexcept:
    put_text(written, "  [", 3)
    put_hexadecimal(written, address)
    put_letter(written, 93)
