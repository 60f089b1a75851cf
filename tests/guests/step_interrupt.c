/* After one instruction both a single-step trap and an interrupt are due: the trap comes first
 * (SDM, "Priority Among Simultaneous Exceptions and Interrupts"), and neither is lost. */
#include "guest.h"

struct event {
    uint64_t vector, rip;
};
static struct event events[16];
static volatile unsigned count;

static void note(struct frame *f)
{
    if (count < ARRAY_SIZE(events))
        events[count++] = (struct event){f->vector, f->rip};
}

static void on_interrupt(struct frame *f)
{
    note(f);
    lapic_eoi();
}

void test(void)
{
    uint64_t after, next;

    handle(DB, note);
    handle(0x60, on_interrupt);
    lapic_on(true);
    for (unsigned i = 0; i < 20; i++) {
        count = 0;
        asm volatile("pushfq; orq $0x300, (%%rsp); popfq\n\t"
                     "wrmsr\n"
                     "1:\tnop\n"
                     "2:\tpushfq; andq $~0x300, (%%rsp); popfq\n\t"
                     "lea 1b(%%rip), %0; lea 2b(%%rip), %1"
                     : "=&r"(after), "=&r"(next)
                     : "c"(0x830), "a"(0x40060), "d"(0)
                     : "memory", "cc");
        (void)next;
        CHECK(count >= 3, "%u events", count);
        CHECK(events[0].vector == DB && events[0].rip == after, "first: vector %lu at %+ld",
              events[0].vector, (long)(events[0].rip - after));
        CHECK(events[1].vector == 0x60 && events[1].rip == after, "second: vector %lu at %+ld",
              events[1].vector, (long)(events[1].rip - after));
        CHECK(events[2].vector == DB && events[2].rip == next, "third: vector %lu at %+ld",
              events[2].vector, (long)(events[2].rip - next));
    }
}
