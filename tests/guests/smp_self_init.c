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
    uint32_t starts[SMP_MAX]; /* that are due */

    smp_prepare(x2apic, end_oneself);
    for (unsigned i = 1; i < count; i++) {
        starts[i] = smp_starts(i) + 1;
        smp_restart(i);
    }
    for (unsigned n = 0; n < ROUNDS; n++) {
        for (unsigned i = 1; i < count; i++) {
            CHECK(smp_wait(&before[i], starts[i]), "vCPU %u has not come to its INIT: %u of %u", i,
                  before[i], starts[i]);
            delay_us(20);
            CHECK(after[i] == 0, "vCPU %u went on after INIT", i);
            /* one that comes before the INIT, because the vCPU had no processor, is ignored */
            for (unsigned tries = 0; tries < 1000 && smp_starts(i) == starts[i]; tries++) {
                smp_send(i, SMP_STARTUP);
                delay_us(100);
            }
            starts[i]++;
        }
    }
    for (unsigned i = 1; i < count; i++)
        CHECK(smp_wait(&before[i], starts[i]), "vCPU %u does not come at the end", i);
    delay_us(20);
}

void test(void)
{
    run(false);
    run(true);
}
