/* A guest that hangs, but not always: a worker goes to sleep though there is a job for it.
 *
 *     gcc -Og -g -static -nostdlib -o lost_wakeup lost_wakeup.c
 *     hypercall run lost_wakeup --cpus 2 --seed 1 --limit 1
 *
 * With -DFIXED it looks for a job once more before it sleeps. With -DCAREFUL it interrupts the
 * worker in another way if the hypervisor refuses the call.
 */

#include "guest.h"

#define WAKE_UP 0x40
#define JOBS 8

static volatile unsigned given, done;

static __attribute__((interrupt)) void woken(struct frame *frame)
{
    (void)frame;
    end_of_interrupt();
}

static void sleep(void)
{
#ifdef FIXED
    /* An interrupt that comes now waits until HLT. */
    asm volatile("cli");
    if (done != given) {
        asm volatile("sti");
        return;
    }
#endif
    asm volatile("sti; hlt");
}

static void worker(void)
{
    accept_interrupts();
    asm volatile("sti");
    for (;;) {
        while (done != given) {
            busy(200000);
            done++;
        }
        /* Tidy up. */
        busy(50000);
        sleep();
    }
}

static void give_job(void)
{
    given++;
    uint16_t status = hypercall(SEND_IPI | FAST, WAKE_UP, 1 << 1);
#ifdef CAREFUL
    if (status)
        write_msr(ICR, 1ull << 56 | WAKE_UP);
#else
    (void)status;
#endif
}

static void wait_for_worker(void)
{
    while (done != given)
        pause();
}

int _start(void)
{
    open_hypercalls();
    on_interrupt(WAKE_UP, woken);
    if (start_vp(1, worker))
        return 1;
    /* Now it sleeps. */
    busy(1000000);
    for (int job = 0; job < JOBS; job++) {
        give_job();
        wait_for_worker();
    }
    say("all jobs are done");
    return 0;
}
