/* INIT and start-up IPIs, many times, to vCPUs that spin, sleep, are halted for good or wait: each
 * pair starts it once, and a start-up IPI without INIT does nothing. */
#include "smp.h"

#define ROUNDS  150
#define NOWHERE 0x90000u

static volatile uint32_t ready[SMP_MAX];

static void live(unsigned self)
{
    unsigned how = smp_starts(self) % 4;

    add(&ready[self], 1);
    if (how == 0)
        asm volatile("1: jmp 1b");
    while (how == 1)
        cpuid(0, 0);
    while (how == 2)
        asm volatile("sti; hlt" ::: "memory");
}

void test(void)
{
    unsigned count = smp_start(false, live);

    for (unsigned i = 1; i < count; i++)
        CHECK(smp_wait(&ready[i], 1), "vCPU %u is not ready", i);
    for (unsigned n = 2; n < ROUNDS; n++) {
        unsigned i = 1 + n % (count - 1), id = i;
        uint32_t now = smp_starts(id);
        if (n % 3 == 0)
            delay_us(20); /* lets it come to where it stays */
        if (n % 5 == 0)
            smp_send(id, SMP_INIT);
        smp_restart(id);
        if (n % 7 == 0)
            smp_send(id, SMP_STARTUP);
        CHECK(smp_wait(&ready[i], now + 1), "round %u: vCPU %u was started %u times, not %u", n, id,
              smp_starts(id), now + 1);
        smp_send(id, SMP_STARTUP);
        CHECK(smp_starts(id) == now + 1, "round %u: vCPU %u was started twice", n, id);
    }
    /* Two pairs without a pause start it once or twice, and it runs afterwards. */
    for (unsigned n = 0; n < ROUNDS; n++) {
        unsigned id = 1 + n % (count - 1);
        uint32_t now =
            ready[id]; /* a start that INIT cut short is counted, but did not come so far */
        smp_restart(id);
        smp_restart(id);
        delay_us(n % 50);
        smp_send(id, SMP_INIT);
        delay_us(20);
        uint32_t stopped = ready[id];
        CHECK(stopped - now <= 2, "it came %u times", stopped - now);
        delay_us(20);
        CHECK(ready[id] == stopped, "it runs after INIT");
        smp_send(id, SMP_STARTUP);
        CHECK(smp_wait(&ready[id], stopped + 1), "round %u: vCPU %u does not start", n, id);
    }
    /* Of two start-up IPIs the first says where. */
    for (unsigned id = 1; id < count; id++) {
        uint32_t now = ready[id];
        smp_send(id, SMP_INIT);
        smp_send(id, SMP_STARTUP);
        smp_send(id, (SMP_STARTUP & ~0xffu) | NOWHERE >> 12);
        CHECK(smp_wait(&ready[id], now + 1), "vCPU %u does not start at the first address", id);
    }
}
