/* What a small guest needs to talk to the hypervisor: port, MSRs, calls, processors.
 *
 * A guest is a static ELF file whose _start is entered in 64-bit mode like a C function, with the
 * first 4 GiB mapped one to one. What it returns is the exit code, 0 for a pass:
 *
 *     gcc -Og -g -static -nostdlib -o guest guest.c
 */

#include <stdint.h>

/* Interrupt handlers keep no vector registers. */
#pragma GCC target("general-regs-only")

#define PAGE __attribute__((aligned(4096)))
#define UNUSED __attribute__((unused))

enum { GUEST_OS_ID = 0x40000000, HYPERCALL = 0x40000001, EOI = 0x40000070, ICR };
enum {
    FLUSH_LIST = 0x0003,
    SEND_IPI = 0x000B,
    START_VP = 0x0099,
    FAST = 1 << 16,
};
#define REPS(count) ((uint64_t)(count) << 32)

static inline void write_msr(uint32_t index, uint64_t value)
{
    asm volatile("wrmsr" : : "c"(index), "a"((uint32_t)value), "d"(value >> 32) : "memory");
}

/* One tick is a nanosecond of virtual time. */
static inline uint64_t time_stamp(void)
{
    uint32_t low, high;
    asm volatile("rdtsc" : "=a"(low), "=d"(high));
    return low | (uint64_t)high << 32;
}

UNUSED static void busy(uint64_t nanoseconds)
{
    for (uint64_t start = time_stamp(); time_stamp() - start < nanoseconds;)
        ;
}

static inline void pause(void)
{
    asm volatile("pause" : : : "memory");
}

/* Writes a line to the first serial port. */
UNUSED static void say(const char *text)
{
    for (; *text; text++)
        asm volatile("outb %0, %1" : : "a"(*text), "Nd"((uint16_t)0x3F8));
    asm volatile("outb %0, %1" : : "a"((char)'\n'), "Nd"((uint16_t)0x3F8));
}

static PAGE uint8_t hypercall_page[4096];

static void open_hypercalls(void)
{
    write_msr(GUEST_OS_ID, 0x8100ull << 48);
    write_msr(HYPERCALL, (uintptr_t)hypercall_page | 1);
}

/* Makes a call through the hypercall page and returns the status. It is part of its caller, so
 * that traces name that. */
static inline __attribute__((always_inline)) uint16_t hypercall(uint64_t control, uint64_t input, uint64_t output)
{
    uint64_t result;
    register uint64_t r8 asm("r8") = output;
    asm volatile("call *%4"
                 : "=a"(result), "+c"(control), "+d"(input), "+r"(r8)
                 : "r"(hypercall_page)
                 : "r9", "r10", "r11", "memory");
    return result & 0xFFFF;
}

static uint64_t address_space(void)
{
    uint64_t cr3;
    asm volatile("mov %%cr3, %0" : "=r"(cr3));
    return cr3;
}

struct segment {
    uint64_t base;
    uint32_t limit;
    uint16_t selector, attributes;
};

struct table {
    uint16_t padding[3], limit;
    uint64_t base;
};

struct start_input {
    uint64_t partition;
    uint32_t vp_index;
    uint32_t vtl;
    uint64_t rip, rsp, rflags;
    struct segment cs, ds, es, fs, gs, ss, tr, ldtr;
    struct table idtr, gdtr;
    uint64_t efer, cr0, cr3, cr4, pat;
};

static struct table current_table(int interrupts)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer;
    struct table table = {{0}, 0, 0};
    if (interrupts)
        asm volatile("sidt %0" : "=m"(pointer));
    else
        asm volatile("sgdt %0" : "=m"(pointer));
    table.limit = pointer.limit;
    table.base = pointer.base;
    return table;
}

/* Starts a processor in a function that never returns; returns the status of the call. */
static uint16_t start_vp(uint32_t vp_index, void (*function)(void))
{
    static PAGE struct start_input input;
    static PAGE uint8_t stacks[4][16384];
    struct segment data = {0, 0xFFFFFFFF, 0x18, 0xC093};
    input.partition = ~0ull;
    input.vp_index = vp_index;
    input.vtl = 0;
    input.rip = (uintptr_t)function;
    input.rsp = (uintptr_t)stacks[vp_index & 3] + sizeof stacks[0] - 8;
    input.rflags = 2;
    input.cs = (struct segment){0, 0xFFFFFFFF, 0x10, 0xA09B};
    input.ds = input.es = input.fs = input.gs = input.ss = data;
    input.tr = (struct segment){0, 0x67, 0x38, 0x8B};
    input.ldtr = (struct segment){0, 0, 0, 0x82};
    input.idtr = current_table(1);
    input.gdtr = current_table(0);
    input.efer = 0xD00;
    input.cr0 = 0x80050033;
    input.cr3 = address_space();
    input.cr4 = 0x620;
    input.pat = 0x0007040600070406;
    return hypercall(START_VP, (uintptr_t)&input, 0);
}

/* --- interrupts ------------------------------------------------------------------------------ */

struct frame;

static PAGE uint64_t gates[256][2];

UNUSED static void on_interrupt(uint8_t vector, void (*handler)(struct frame *))
{
    uint64_t address = (uintptr_t)handler;
    gates[vector][0] = (address & 0xFFFF) | 0x10 << 16 | 0x8E00ull << 32
                       | (address >> 16 & 0xFFFF) << 48;
    gates[vector][1] = address >> 32;
}

/* Lets this processor take interrupts, from the next STI on. */
UNUSED static void accept_interrupts(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof gates - 1, (uintptr_t)gates};
    asm volatile("lidt %0" : : "m"(pointer));
    *(volatile uint32_t *)0xFEE000F0ull = 0x1FF;
}

static inline void end_of_interrupt(void)
{
    write_msr(EOI, 0);
}
