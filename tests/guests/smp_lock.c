/* All vCPUs count under one spinlock, with and without PAUSE; every step of every vCPU is counted.
 */
#include "smp.h"

#define ROUNDS 2000

static volatile uint32_t lock, done;
static volatile uint64_t counted;

static void work(unsigned self)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            if (self & 1)
                pause();
        counted = counted + 1;
        if (i % 64 == 0)
            cpuid(0, 0); /* an exit with the lock held */
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    }
    add(&done, 1);
}

void test(void)
{
    unsigned count = smp_start(true, work);

    work(0);
    smp_finish(&done, count);
    CHECK(counted == count * ROUNDS, "%lu steps of %u", counted, count * ROUNDS);
}
