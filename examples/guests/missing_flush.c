/* A guest that moves a page and forgets to tell the other processor.
 *
 *     gcc -Og -g -static -nostdlib -o missing_flush missing_flush.c
 *     hypercall run missing_flush --cpus 2 --check-stale
 *
 * With -DFIXED it tells both.
 */

#include "guest.h"

#define LARGE_PAGE (2ull << 20)

/* A page of 2 MiB that is mapped elsewhere while the other processor reads it. */
static volatile uint64_t *const window = (uint64_t *)(32 * LARGE_PAGE);

static volatile int reads, done;
static volatile uint64_t seen;

static void reader(void)
{
    while (!done) {
        seen = *window;
        reads = 1;
    }
    for (;;)
        asm volatile("cli; hlt");
}

struct flush_input {
    uint64_t address_space, flags, processors, pages[1];
};

static uint16_t flush(uint64_t processors, volatile void *address)
{
    static PAGE struct flush_input input;
    input.address_space = address_space();
    input.flags = 0;
    input.processors = processors;
    input.pages[0] = (uintptr_t)address;
    return hypercall(FLUSH_LIST | REPS(1), (uintptr_t)&input, 0);
}

/* The entry of the lowest table that maps an address below 1 GiB. */
static volatile uint64_t *entry_of(volatile void *address)
{
    uint64_t *top = (uint64_t *)(address_space() & ~0xFFFull);
    uint64_t *pointers = (uint64_t *)(top[0] & ~0xFFFull);
    uint64_t *directory = (uint64_t *)(pointers[0] & ~0xFFFull);
    return &directory[(uintptr_t)address / LARGE_PAGE];
}

static void move_window(void)
{
    *entry_of(window) += LARGE_PAGE;
#ifdef FIXED
    flush(1 << 0 | 1 << 1, window);
#else
    flush(1 << 0, window);
#endif
}

int _start(void)
{
    open_hypercalls();
    *window = 1;
    *(window + LARGE_PAGE / 8) = 2;
    if (start_vp(1, reader))
        return 1;
    while (!reads)
        pause();
    move_window();
    busy(40000000);
    done = 1;
    say(*window == 2 ? "the page has moved" : "the page is where it was");
    return 0;
}
