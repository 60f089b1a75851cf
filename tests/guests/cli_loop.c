/* A guest that loops with interrupts off, without an exit of its own, keeps the host neither busy
 * for ever nor dead. */
#include "guest.h"

void test(void)
{
    uint64_t end = rdtsc() + tsc_hz();
    cli();
    while ((int64_t)(rdtsc() - end) < 0)
        ;
}
