#include "arch/x86/spinlock.h"

#include "arch/x86/cpu.h"

bool spin_forsaken;

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    while (__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket) {
        if (__atomic_load_n(&spin_forsaken, __ATOMIC_RELAXED))
            return;
        cpu_pause();
    }
}

#if defined(CORBEL_DEBUG) && !__STDC_HOSTED__
#include "arch/x86/panic.h"
#include "arch/x86/percpu.h"

/* percpu.lock_ranks has two bits for each rank: how many locks of it are held. */
#define ONE_OF(rank) (1ULL << 2 * (rank))
_Static_assert(2 * RANK_COUNT <= 64, "percpu.lock_ranks");

void spin_check_lock(const struct spinlock *l, unsigned least)
{
    struct percpu *cpu = this_cpu();

    if (spin_forsaken)
        return;
    if (read_rflags() & RFLAGS_IF)
        panic("lock %p of rank %u is taken with interrupts on", (const void *)l, l->rank);
    if (cpu->lock_ranks / ONE_OF(least))
        panic("lock %p of rank %u is taken while others are held: %lx (two bits for each rank)",
              (const void *)l, l->rank, cpu->lock_ranks);
    cpu->lock_ranks += ONE_OF(l->rank);
}

void spin_check_unlock(const struct spinlock *l)
{
    if (!spin_forsaken)
        this_cpu()->lock_ranks -= ONE_OF(l->rank);
}
#endif
