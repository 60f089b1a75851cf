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

void spin_check_lock(const struct spinlock *l, bool waits)
{
    struct percpu *cpu = this_cpu();

    if (spin_forsaken)
        return;
    if (read_rflags() & RFLAGS_IF)
        panic("lock %p of rank %u is taken with interrupts on", (const void *)l, l->rank);
    if (waits && cpu->lock_ranks >> l->rank)
        panic("lock %p of rank %u is taken while others of ranks %x (bits) are held",
              (const void *)l, l->rank, cpu->lock_ranks);
    cpu->lock_ranks |= 1u << l->rank;
}

void spin_check_unlock(const struct spinlock *l)
{
    this_cpu()->lock_ranks &= ~(1u << l->rank);
}
#endif
