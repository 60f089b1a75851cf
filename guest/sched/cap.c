/* A group's cap: a budget of ticks, filled again each period. A vCPU takes a part of it before it
 * runs and settles afterwards, so that those of one group on different CPUs need no common lock,
 * and what was overdrawn is paid back. */
#include "guest/sched/queue.h"

static void refill(const struct sched *s, struct sched_group *g, uint64_t quota, uint64_t now)
{
    uint64_t due = __atomic_load_n(&g->refill_at, __ATOMIC_RELAXED);

    if (sched_before(now, due))
        return;
    uint64_t next = due + s->cap_period;
    if (!sched_before(now, next))
        next = now + s->cap_period;
    if (!__atomic_compare_exchange_n(&g->refill_at, &due, next, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return; /* another CPU did */

    int64_t budget = __atomic_load_n(&g->budget, __ATOMIC_RELAXED), full;
    do
        full = MIN(budget, 0) + (int64_t)quota;
    while (!__atomic_compare_exchange_n(&g->budget, &budget, full, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    if (full > 0)
        __atomic_fetch_add(&g->round, 1, __ATOMIC_RELAXED);
}

uint64_t cap_take(const struct sched *s, struct sched_vcpu *v, uint64_t want, uint64_t now)
{
    struct sched_group *g = v->group;
    uint64_t quota = cap_of(g);

    v->capped = quota != 0;
    if (quota == 0)
        return want;
    refill(s, g, quota, now);

    /* Each may run once per refill, even if others were faster to take what there was: else one
     * that comes late each time would never run. */
    uint32_t round = __atomic_load_n(&g->round, __ATOMIC_RELAXED);
    if (__atomic_load_n(&g->budget, __ATOMIC_RELAXED) <= 0 && v->round == round)
        return 0;
    v->round = round;

    uint32_t n = __atomic_load_n(&g->runnable, __ATOMIC_RELAXED);
    n = MIN(MAX(n, 1U), (uint32_t)SCHED_MAX_VCPUS);
    uint64_t part = MAX(quota / n, s->grain);
    v->grant = (int64_t)MIN(want, part);
    __atomic_fetch_sub(&g->budget, v->grant, __ATOMIC_RELAXED);
    return (uint64_t)v->grant;
}

void cap_settle(struct sched_vcpu *v)
{
    if (v->capped)
        __atomic_fetch_add(&v->group->budget, v->grant, __ATOMIC_RELAXED);
    v->grant = 0;
}
