# Marks in TLB entries whose translation is not what the guest's paging structures say any more.
#
# A marked right of an entry is invalid to the library, so that its next use comes to the fill,
# which gives the right back and lets the access have the old translation: nothing changes for the
# guest. The library does not find such an entry when it flushes a page, nor among its victims, so
# marks are taken away before it may look for one.

cdef enum:
    OWN_GLOBAL = 1
    MARKED_READ = 2
    MARKED_WRITE = 4
    MARKED_CODE = 8
    MARKED = 14
    STALE_TOLD = 16


cdef inline uint64_t marks_of(uint8_t *entry) noexcept nogil:
    # An entry that was emptied has all bits set.
    cdef uint64_t own = u64(entry, ENTRY_OWN)[0]
    return 0 if own == NEVER else own & MARKED


cdef inline void mark(uint8_t *entry, int access) noexcept nogil:
    u64(entry, 8 * access)[0] |= TLB_INVALID
    u64(entry, ENTRY_OWN)[0] |= <uint64_t>MARKED_READ << access


cdef inline void unmark(uint8_t *entry) noexcept nogil:
    # Gives an entry its rights back.
    cdef uint64_t marks = marks_of(entry)
    cdef int access
    if not marks:
        return
    for access in range(3):
        if marks & <uint64_t>MARKED_READ << access:
            u64(entry, 8 * access)[0] &= ~<uint64_t>TLB_INVALID
    u64(entry, ENTRY_OWN)[0] &= ~<uint64_t>MARKED


cdef inline bint grants(uint8_t *entry, int access) noexcept nogil:
    # Whether an entry serves accesses without a walk. One that is invalid for another reason than
    # a mark is walked for each time.
    cdef uint64_t comparator = u64(entry, 8 * access)[0]
    if comparator == NEVER:
        return False
    return not comparator & TLB_INVALID or marks_of(entry) & <uint64_t>MARKED_READ << access


cdef inline uint64_t page_of(uint8_t *entry) noexcept nogil:
    # The page that an entry is for; NEVER if it is empty.
    cdef int access
    for access in range(3):
        if u64(entry, 8 * access)[0] != NEVER:
            return u64(entry, 8 * access)[0] & ~<uint64_t>0xFFF
    return NEVER


cdef inline bint marked_for(uint8_t *entry, uint64_t page, int access) noexcept nogil:
    return (
        marks_of(entry) & <uint64_t>MARKED_READ << access
        and u64(entry, 8 * access)[0] & ~<uint64_t>0xFFF == page
    )


cdef uint8_t *victims_of(uint8_t *cs, int mode) noexcept nogil:
    return cs + CS_TLB + TLB_DESCRIPTOR + mode * TLB_DESCRIPTOR_SIZE + TLB_DESCRIPTOR_VICTIMS


cdef uint8_t *find_marked(uint8_t *cs, int mode, uint64_t page, int access) noexcept nogil:
    # The entry that would serve an access but for its mark, where the library will look for it.
    cdef uint8_t *slot = tlb_entry(cs, mode, page)
    cdef uint8_t *victim
    cdef uint8_t *place
    cdef uint8_t *victim_place
    cdef uint8_t kept[ENTRY_SIZE]
    cdef int index
    if marked_for(slot, page, access):
        return slot
    victim = victims_of(cs, mode)
    for index in range(TLB_VICTIMS):
        if marked_for(victim, page, access):
            # The library exchanges the two, and what belongs to them.
            memcpy(kept, slot, ENTRY_SIZE)
            memcpy(slot, victim, ENTRY_SIZE)
            memcpy(victim, kept, ENTRY_SIZE)
            place = victims_of(cs, mode) - TLB_DESCRIPTOR_VICTIMS
            victim_place = place + DESCRIPTOR_VICTIM_IOTLB + index * IOTLB_SIZE
            place = <uint8_t *>(u64(place, DESCRIPTOR_IOTLB)[0])
            place += (
                (page >> 12)
                & (u64(cs + CS_TLB + TLB_FAST + mode * TLB_FAST_SIZE, 0)[0] >> ENTRY_SHIFT)
            ) * IOTLB_SIZE
            memcpy(kept, place, IOTLB_SIZE)
            memcpy(place, victim_place, IOTLB_SIZE)
            memcpy(victim_place, kept, IOTLB_SIZE)
            return slot
        victim += ENTRY_SIZE
    return NULL


cdef uint8_t *marked_pointer(uint8_t *cs, int mode, uint64_t address) noexcept nogil:
    # Where code of a page lies whose right to be executed is marked, or NULL.
    cdef uint8_t *entry = tlb_entry(cs, mode, address)
    if not marked_for(entry, address & ~<uint64_t>0xFFF, 2):
        return NULL
    return <uint8_t *>(u64(entry, ENTRY_ADDEND)[0] + address)


cdef void unmark_page(uint8_t *cs, int mode, uint64_t page) noexcept nogil:
    # Before the library empties the entries of a page, or puts another into its place.
    cdef uint8_t *victim = victims_of(cs, mode)
    cdef int index
    unmark(tlb_entry(cs, mode, page))
    for index in range(TLB_VICTIMS):
        if marks_of(victim) and page_of(victim) == page:
            unmark(victim)
        victim += ENTRY_SIZE


cdef void flush_page(uint8_t *cs, bint marks, uint64_t address) noexcept:
    # Drops the translations of a page in every mode.
    cdef int mode
    if marks:
        for mode in range(TLB_MODES):
            unmark_page(cs, mode, address & ~<uint64_t>0xFFF)
    tlb_flush_page_x86_64(cs, address)
