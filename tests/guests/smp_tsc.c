/* No vCPU ever reads an earlier TSC than another one has read before. */
#include "smp.h"

#define ROUNDS 2000

static volatile uint32_t lock, done;
static volatile uint64_t last, last_by;

static void read_in_turn(unsigned self)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            pause();
        uint64_t now = i % 16 ? rdtsc() : rdmsr(0x10);
        CHECK(now > last, "vCPU %u reads %lu after %lu by vCPU %lu", self, now, last, last_by);
        last = now;
        last_by = self;
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
        if (i % 16 == 0)
            cpuid(0, 0);
    }
    add(&done, 1);
}

void test(void)
{
    unsigned count = smp_start(true, read_in_turn);

    read_in_turn(0);
    smp_finish(&done, count);
}
