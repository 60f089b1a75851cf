/* The TSC-deadline timer: due at once when the deadline has passed, on time otherwise, once, and
 * off by writing 0. */
#include "guest.h"

static volatile unsigned count;
static volatile uint64_t when;

static void on_timer(struct frame *f)
{
    when = rdtsc();
    count++;
    lapic_eoi();
}

void test(void)
{
    lapic_on(true);
    handle(0x61, on_timer);
    lapic_write(0x320, 0x40061);
    wrmsr(0x6e0, 1);
    sti();
    delay_us(10);
    CHECK(count == 1, "a deadline of 1 gave %u interrupts", count);
    uint64_t passed = rdmsr(0x6e0);
    wrmsr(0x6e0, rdtsc());
    delay_us(10);
    CHECK(count == 2, "a deadline of now gave %u interrupts", count - 1);
    uint64_t step = tsc_hz() / 5000;
    for (unsigned i = 0; i < 20; i++) {
        uint64_t deadline = rdtsc() + step;
        count = 0;
        wrmsr(0x6e0, deadline);
        CHECK(rdmsr(0x6e0) == deadline || count, "the deadline reads back %lx", rdmsr(0x6e0));
        while (!count && rdtsc() < deadline + step)
            ;
        CHECK(count == 1 && when >= deadline, "%u interrupts, at %ld from the deadline", count,
              (int64_t)(when - deadline));
        CHECK(when - deadline < 20000, "%lu ticks late", when - deadline);
    }
    count = 0;
    wrmsr(0x6e0, rdtsc() + step);
    wrmsr(0x6e0, 0);
    delay_us(400);
    CHECK(count == 0, "a deadline that was taken back came");
    wrmsr(0x6e0, ~0ULL);
    delay_us(100);
    CHECK(count == 0, "the last deadline of all came");
    wrmsr(0x6e0, rdtsc() + step); /* moving the TSC moves the deadline closer */
    wrmsr(0x10, rdtsc() + 2 * step);
    delay_us(10);
    CHECK(count == 1, "after a jump of the TSC over the deadline: %u interrupts", count);
    /* in another timer mode the MSR does nothing */
    lapic_write(0x320, 0x61);
    wrmsr(0x6e0, 1);
    delay_us(10);
    CHECK(count == 1 && rdmsr(0x6e0) == 0, "one-shot mode takes deadlines");
    CHECK(passed == 0, "a deadline that has passed reads %lx", passed);
}
