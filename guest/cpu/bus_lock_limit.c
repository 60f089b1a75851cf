/* Pure: how many bus locks are too many. */
#include "guest/cpu/bus_lock.h"

#include "arch/x86/regs.h"

uint64_t bus_lock_until(struct bus_locks *b, uint64_t now, uint32_t limit, uint64_t hz)
{
    uint64_t due = __atomic_load_n(&b->due, __ATOMIC_RELAXED), next;

    __atomic_add_fetch(&b->count, 1, __ATOMIC_RELAXED);
    if (!limit)
        return now;
    do {
        next = MIN(MAX(due, now) + hz / limit, now + BUS_LOCK_PATIENCE(hz) + BUS_LOCK_BURST(hz));
    } while (!__atomic_compare_exchange_n(&b->due, &due, next, true, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return MAX(next - BUS_LOCK_BURST(hz), now);
}

bool alignment_checked(uint64_t cr0, uint64_t rflags, unsigned cpl)
{
    return cr0 & CR0_AM && rflags & RFLAGS_AC && cpl == 3;
}
