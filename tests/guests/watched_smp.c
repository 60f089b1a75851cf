/* Several vCPUs write to one page that somebody may be watching: none of the writes is lost, for
 * the guest or for who watches. */
#include "smp.h"

#define ROUNDS 200

volatile uint64_t shared[512] __attribute__((aligned(4096)));
static volatile uint32_t done;

static void work(unsigned self)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        asm volatile("lock incq %0" : "+m"(shared[self & 1])::"cc");
    add(&done, 1);
}

void test(void)
{
    unsigned count = smp_start(true, work);

    work(0);
    smp_finish(&done, count);
    CHECK(shared[0] + shared[1] == count * ROUNDS, "%lu writes of %u", shared[0] + shared[1],
          count * ROUNDS);
}
