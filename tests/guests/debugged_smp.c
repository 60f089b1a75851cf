/* Several vCPUs for a debugger to look at, each at work by itself; tests/machine/gdb_smp.py.
 * Without one they come to an end as well. */
#include "smp.h"

#define NOINLINE __attribute__((noinline, noclone))
#define ROUNDS   100000000

static volatile uint32_t rounds[SMP_MAX], done;
static volatile bool enough; /* the debugger's to set */

NOINLINE static void work(unsigned self, uint32_t n)
{
    rounds[self] = n;
}

static void worker(unsigned self)
{
    for (uint32_t n = 1; n <= ROUNDS && !enough; n++)
        work(self, n);
    add(&done, 1);
}

void test(void)
{
    unsigned count = smp_start(true, worker);

    worker(0);
    for (unsigned i = 0; i < 10 && !smp_wait(&done, count); i++)
        ;
    CHECK(done == count, "%u of %u have come to their end", done, count);
    for (unsigned i = 0; i < count; i++)
        CHECK(rounds[i] > 0, "vCPU %u has done nothing", i);
}
