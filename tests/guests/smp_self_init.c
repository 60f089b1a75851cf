/* A vCPU that sends INIT to itself stops at once, and a start-up IPI starts it again; INIT with the
 * shorthand "self" is not a valid one, and does nothing. */
#include "smp.h"

#define ROUNDS 20

static volatile uint32_t before[SMP_MAX], after[SMP_MAX];

static void end_oneself(unsigned self)
{
    smp_send(0, SMP_INIT | 1u << 18);
    add(&before[self], 1);
    smp_send(self, SMP_INIT);
    add(&after[self], 1);
}

static void run(bool x2apic)
{
    unsigned count = smp_count();

    smp_prepare(x2apic, end_oneself);
    for (unsigned i = 1; i < count; i++) {
        uint32_t now = smp_starts(i);
        smp_restart(i);
        CHECK(smp_wait(&before[i], now + 1), "vCPU %u does not start", i);
    }
    for (unsigned n = 0; n < ROUNDS; n++) {
        for (unsigned i = 1; i < count; i++) {
            uint32_t now = smp_starts(i);
            CHECK(smp_wait(&before[i], now), "vCPU %u has not come to its INIT: %u of %u", i,
                  before[i], now);
            delay_us(20);
            CHECK(after[i] == 0, "vCPU %u went on after INIT", i);
            smp_send(i, SMP_STARTUP);
        }
    }
    for (unsigned i = 1; i < count; i++)
        CHECK(smp_wait(&before[i], smp_starts(i)), "vCPU %u does not come at the end", i);
}

void test(void)
{
    run(false);
    run(true);
}
