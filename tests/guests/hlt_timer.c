/* HLT ends with the APIC timer's interrupt, and about then. */
#include "guest.h"

static volatile unsigned count;

static void on_timer(struct frame *f)
{
    count++;
    lapic_eoi();
}

void test(void)
{
    lapic_on(true);
    handle(0x60, on_timer);
    lapic_write(0x320, 0x40060); /* TSC deadline */
    for (unsigned i = 1; i <= 20; i++) {
        uint64_t start = rdtsc(), wait = tsc_hz() / 1000;
        wrmsr(0x6e0, start + wait);
        asm volatile("sti; hlt; cli" ::: "memory");
        uint64_t took = rdtsc() - start;
        CHECK(count == i, "HLT %u ended with %u interrupts", i, count);
        CHECK(took >= wait && took < wait + tsc_hz() / 1000, "HLT took %lu ticks for %lu", took,
              wait);
    }
}
